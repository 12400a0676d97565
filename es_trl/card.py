"""The model card's section on the run: the loop, the last records and the figure."""

from pathlib import Path

from transformers.utils import logging

from .control import part_rows
from .history import HISTORY_FILE, read_history, read_loop
from .plots import FIGURE_FILE, plot_run


logger = logging.get_logger(__name__)


def append_run_section(run_dir: Path) -> None:
    """Draw the figure of a run and append its section to the `README.md` that TRL has just written in `run_dir`."""
    history = run_dir / HISTORY_FILE
    records = read_history(history) if history.exists() else []
    if not records:
        return
    lines = ["", "", "## Entropy over the run", ""]
    loop = read_loop(run_dir)
    if loop is None:
        lines += ["The run measured the entropy of every rollout and did not control it.", ""]
    else:
        lines += [f"- {name}: `{part}`" for name, part in part_rows(loop)] + [""]
    if _draw(run_dir):
        lines += [f"![Target and entropy, control, reward and completion length over rollouts]({FIGURE_FILE})", ""]
    first, last = records[0], records[-1]
    lines += ["| | first rollout | last rollout |", "|---|---|---|"]
    for name, unit in (
        ("rollout", ""),
        ("target", " (nats)"),
        ("entropy", " (nats)"),
        ("control", ""),
        ("reward", ""),
    ):
        lines.append(f"| {name}{unit} | {_cell(first[name])} | {_cell(last[name])} |")
    events = [(record["rollout"], event) for record in records for event in record["events"] or []]
    if events:
        lines += ["", *(f"- rollout {rollout}, {event['kind']}: {event['message']}" for rollout, event in events)]
    lines += ["", f"Every rollout is a line of [`{HISTORY_FILE}`]({HISTORY_FILE}).", ""]
    with open(run_dir / "README.md", "a") as card:
        card.write("\n".join(lines))


def _draw(run_dir: Path) -> bool:
    try:
        plot_run(run_dir)
    except ImportError as error:
        logger.warning(f"no {FIGURE_FILE}: {error}")
        return False
    return True


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
