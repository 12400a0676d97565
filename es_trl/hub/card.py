"""The model card: TRL's text, then sections on the run, the recipe and the versions."""

import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..common.writing import write_atomically
from ..control.loop import part_rows
from ..tracking.completions import COMPLETIONS_FILE, read_completions
from ..tracking.history import HISTORY_FILE, read_history, read_loop
from ..tracking.plots import FIGURE_FILE
from .secrets import hide_tokens, without_tokens


PAPER = {
    "title": "Entropy Scheduling in Reinforcement Learning for Large Language Models",
    "citation": textwrap.dedent("""\
        @inproceedings{wang2026entropy,
            title        = {{Entropy Scheduling in Reinforcement Learning for Large Language Models}},
            author       = {Xingjin Wang and Howe Tissue and Lu Wang and Linjing Li and Daniel Dajun Zeng},
            year         = 2026,
            booktitle    = {Findings of the Association for Computational Linguistics: ACL 2026},
        }"""),
}
CARD_FILE = "README.md"
RECIPE_FILE = "es_recipe.yaml"
VERSIONS = "### Versions of the run"
REPORT_FILE = "report.html"
_PROMPT = "The answer is"  # where the run has no prompt yet
_TEXT_QUICK_START = """
```python
from transformers import pipeline

prompt = {prompt}
generator = pipeline("text-generation", model="{model}", device_map="auto")
output = generator(prompt, max_new_tokens=128, return_full_text=False)[0]
print(output["generated_text"])
```
"""
# Replacements for TRL's text about a base model or a result that is not on the Hub
_UNNAMED = {"[None](https://huggingface.co/None)": "a model that is not on the Hub", 'model="None"': 'model="."'}


@dataclass(frozen=True)
class Extras:
    """Files that a card may show: each function writes one, and returns whether it is there."""

    draw: Callable[[], bool]  # the figure
    report: Callable[[], bool]  # the page


def complete_card(run_dir: Path, packages: Iterable[str], has_chat_template: bool, extras: Extras) -> None:
    """
    Append the sections on a run to TRL's card, and let its quick start fit the model.

    `packages` are those whose versions it lists. `has_chat_template` says whether the model's tokenizer has one.
    """
    card = run_dir / CARD_FILE
    written = card.read_text().rstrip()
    for words, ours in _UNNAMED.items():
        written = written.replace(words, ours)
    written = with_quick_start(written, run_dir, has_chat_template)
    versions = ", ".join(f"{package} {sys.modules[package].__version__}" for package in packages)
    sections = [
        written,
        _run_section(run_dir, extras),
        _recipe_section(run_dir),
        f"{VERSIONS}\n\n{versions}.",
    ]
    write_atomically(card, hide_tokens("\n\n".join(section for section in sections if section) + "\n"))


def with_quick_start(card: str, run_dir: Path, has_chat_template: bool) -> str:
    """Return TRL's card with a plain-text quick start in place of its chat, if the model was not trained on chats."""
    path = run_dir / COMPLETIONS_FILE
    first = next(iter(read_completions(path)), None) if path.exists() else None
    if has_chat_template and (first is None or first["chat"]):
        return card
    before, heading, rest = card.partition("## Quick start\n")
    code, end, after = rest.partition("\n## ")
    model = re.search(r'model="([^"]*)"', code)
    if not (heading and end and model):
        return card
    prompt = _PROMPT if first is None else first["prompt"]
    return f"{before}{heading}{_TEXT_QUICK_START.format(prompt=repr(prompt), model=model[1])}{end}{after}"


def write_recipe(run_dir: str | Path, given: dict[str, Any] | None) -> None:
    """Write the values that a recipe set, without tokens. `None` deletes the file of an earlier run in the folder."""
    path = Path(run_dir) / RECIPE_FILE
    if given is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe = {
            name: value for name, value in given.items() if name != "resume_from_checkpoint"
        }  # the pushed recipe is for a new run
        write_atomically(path, yaml.safe_dump(without_tokens(recipe), sort_keys=False, allow_unicode=True, width=110))


def _run_section(run_dir: Path, extras: Extras) -> str:
    history = run_dir / HISTORY_FILE
    records = read_history(history, only_told=True) if history.exists() else []
    if not records:
        for name in (FIGURE_FILE, REPORT_FILE):  # of an earlier run in the folder
            (run_dir / name).unlink(missing_ok=True)
        return ""
    lines = ["## Entropy over the run", ""]
    loop = read_loop(run_dir)
    if loop is None:
        lines += ["The run measured the entropy of every rollout and did not control it.", ""]
    else:
        lines += [f"- {name}: `{part}`" for name, part in part_rows(loop)] + [""]
    if extras.draw():
        lines += [f"![Target and entropy, control, reward and completion length over rollouts]({FIGURE_FILE})", ""]
    if extras.report():
        words = (
            "has these charts with all values, the events and sample completions: download it, and open it in a browser"
        )
        lines += [f"[`{REPORT_FILE}`]({REPORT_FILE}) {words}.", ""]
    lines += ["| | first rollout | last rollout |", "|---|---|---|"]
    units = {"target": " (nats)", "entropy": " (nats)", "completion_tokens": " (tokens)"}
    for field in ("rollout", "target", "entropy", "control", "reward", "completion_tokens"):
        name = field.removesuffix("_tokens") + units.get(field, "")
        lines.append(f"| {name} | {_cell(records[0][field])} | {_cell(records[-1][field])} |")
    events = [(record["rollout"], event) for record in records for event in record["events"] or []]
    told = [f"- rollout {at}, {event['kind']}: {event['message']}" for at, event in events if event["kind"] != "push"]
    lines += ["", *told] if told else []
    lines += ["", f"Each line of [`{HISTORY_FILE}`]({HISTORY_FILE}) is the record of one rollout."]
    return "\n".join(lines)


def _recipe_section(run_dir: Path) -> str:
    path = run_dir / RECIPE_FILE
    if not path.exists():
        return ""
    # four backticks, because the recipe's text may contain three
    return f"## Recipe\n\n[`{RECIPE_FILE}`]({RECIPE_FILE}), as it was run:\n\n````yaml\n{path.read_text()}````"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
