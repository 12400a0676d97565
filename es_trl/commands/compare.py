"""`python -m es_trl compare RUN_OR_EVAL RUN_OR_EVAL`."""

import argparse
import warnings
from pathlib import Path
from typing import Any


ARGUMENT = "RUN_OR_EVAL"
HELP = "pass@k of several evaluations: differences with intervals, and where the curves cross"
DESCRIPTION = None
TAKES_KEYS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    text = "folders of evaluations, or of runs, whose newest eval-* is taken; the others are compared with the first"
    parser.add_argument("folders", nargs="+", help=text)
    parser.add_argument("--output_dir", default="runs/compare", help="folder of compare.png; runs/compare where unset")


def run(args: argparse.Namespace, keys: list[str]) -> str:
    """Draw the figure, and return the tables."""
    warnings.simplefilter("ignore")  # a warning of a library is no line of a table
    from ..common.tables import as_table
    from ..common.writing import writing
    from ..evaluation.comparison import compare
    from ..evaluation.figures import draw
    from ..evaluation.result import read_evaluation

    if len(args.folders) < 2 or len(set(args.folders)) < len(args.folders):
        raise ValueError(f"compare must have two folders or more, each once, got {' '.join(args.folders)}: name others")
    found = {name: read_evaluation(_evaluation(name)) for name in args.folders}
    path = Path(args.output_dir)
    with writing(path, "`--output_dir`", "set another --output_dir"):
        path.mkdir(parents=True, exist_ok=True)
    last = [Path(name).name for name in found]
    labels = last if len(set(last)) == len(last) else list(found)  # short ones where they tell the folders apart
    figure = draw(dict(zip(labels, found.values(), strict=True)), path / "compare.png")
    ks = sorted({k for each in found.values() for k in each.pass_at_k})
    rows = [(name, *(_value(each.pass_at_k.get(k)) for k in ks)) for name, each in found.items()]
    (first, one), *others = found.items()
    texts = [as_table(("pass@k, k =", *map(str, ks)), rows)]
    texts += [compare(one, each).as_text(first, name) for name, each in others]
    return "\n\n".join([*texts, str(figure)])


def _evaluation(name: str) -> Path:
    """Return the folder of the evaluation that a folder is or has."""
    from ..evaluation.result import RESULT_FILE, evaluation_folder
    from ..tracking.history import HISTORY_FILE

    found = evaluation_folder(name)
    if found is not None:
        return found
    if (Path(name) / HISTORY_FILE).is_file():
        raise ValueError(f"the run {name} has no evaluation: run python -m es_trl eval {name} first")
    raise ValueError(f"{Path(name) / RESULT_FILE} does not exist: give the folder of an evaluation or of a run")


def _value(interval: Any) -> str:
    return "" if interval is None else f"{interval.value:.3f}"
