"""`write_report` for one run, and `write_comparison` for several."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from ..common.writing import replacement
from ..control.loop import part_rows
from ..hub.card import REPORT_FILE
from ..tracking.outcome import SETTLING, WINDOW
from .drawing import MOST_POINTS
from .html import boxes, folded, heading, paragraph, plain_block, section, table
from .overlays import differing_keys, outcomes, overlays, with_names
from .page import charts_section, page
from .panels import panels_of
from .run import Run, read_run
from .samples import samples_table
from .words import sentences, tiles


_MEASURES = (
    f"Entropy: first → last rollout. Errors: root mean squares, nats; the stable phase leaves out {SETTLING} rollouts. "
    f"Reward: means of the first and last {WINDOW} rollouts."
)
_MOST_EVENTS = 500  # in a list


def write_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """
    Write one HTML page about a run, which needs no other file and no network.

    Args:
        run_dir (`str` or `Path`):
            The `output_dir` of a run that has finished a rollout. Only its history is needed.
        output (`str` or `Path`, *optional*):
            The file to write. If unset, `report.html` in that folder.

    Returns:
        `Path`: the page.

    Raises:
        ValueError: if there is no run, or a file of it is damaged.
        ImportError: if altair or vl-convert-python is not installed.
    """
    run = read_run(run_dir)
    panels = panels_of(run)
    lead = [paragraph(sentence, "lead") for sentence in sentences(run)]
    events = [(at, kind.replace("_", " "), message) for at, kind, message in run.events]
    listed = table(("rollout", "kind", "message"), events[:_MOST_EVENTS]) if events else ""
    more = f"The first {_MOST_EVENTS} of {len(events)} events." if len(events) > _MOST_EVENTS else ""
    parts = [
        paragraph("Report of a training run", "kind"),
        heading(run.name),
        *lead,
        boxes(tiles(run)),
        charts_section("Charts", panels),
        _thinning_note([run], MOST_POINTS),
        section("Events", paragraph(more) if more else "", listed),
        section("Sample completions", samples_table(run.samples)),
        section("Setup", *(folded(title, plain_block(content)) for title, content in _setup(run))),
    ]
    return _write(Path(run_dir) / REPORT_FILE if output is None else Path(output), page(run.name, parts, panels))


def write_comparison(folders: Sequence[str | Path], output: str | Path) -> Path:
    """
    Write one HTML page about several runs: their charts on top of each other, their outcomes, and how they differ.

    Args:
        folders (list of `str` or `Path`):
            The `output_dir`s of the runs, in the order in which they are shown.
        output (`str` or `Path`):
            The file to write.

    Returns:
        `Path`: the page.

    Raises:
        ValueError: if a folder holds no run, or a file of it is damaged.
        ImportError: if altair or vl-convert-python is not installed.
    """
    if not folders:
        raise ValueError("`folders` must name at least one run, got none: give the output_dirs of runs")
    runs = with_names([read_run(folder) for folder in folders], folders)
    panels, most = overlays(runs)
    differing = differing_keys(runs)
    title = f"{len(runs)} runs"
    parts = [
        paragraph("Comparison of training runs", "kind"),
        heading(title),
        *(paragraph(f"{run.name}: {' '.join(sentences(run))}") for run in runs),
        section(
            "Outcomes",
            table(*outcomes(runs)),
            paragraph(_MEASURES, "kind"),
        ),
        charts_section("Charts", panels),
        _thinning_note(runs, most),
        section(
            "Keys of the recipes that differ",
            table(("key", *(run.name for run in runs)), differing) if differing else "",
        ),
    ]
    return _write(Path(output), page(title, parts, panels))


def _write(output: Path, content: str) -> Path:
    with replacement(output) as file:
        file.write(content.encode())
    return output


def _thinning_note(runs: Sequence[Run], most: int) -> str:
    """Say which rollouts the charts leave out, if they leave out any."""
    steps = {run.name: -(-len(run.records) // most) for run in runs}
    if max(steps.values()) == 1:
        return ""
    words = "The charts show every rollout in which something happened as a mark, and of each line at most"
    return paragraph(f"{words} {most} points: every {max(steps.values())}. rollout of the longest run.", "kind")


def _setup(run: Run) -> list[tuple[str, str]]:
    """Return the parts of the setup that are known, as text with their titles."""
    found = []
    if run.loop is not None and "actuators" in run.loop:
        found.append(("Entropy loop", "\n".join(f"{name:<10}  {part}" for name, part in part_rows(run.loop))))
    if run.setup is not None:
        found.append(("Batch geometry", run.setup.geometry.table()))
    if run.recipe is not None:
        found.append(("Recipe", yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True, width=100)))
    if run.versions is not None:
        found.append(("Versions", run.versions + ("" if run.setup is None else f"\ntrained on {run.setup.device}")))
    return found
