"""`python -m es_trl compare RUN_OR_EVAL RUN_OR_EVAL`."""

import argparse
import warnings
from pathlib import Path
from typing import Any


ARGUMENT = "RUN_OR_EVAL"
HELP = "several runs on one page, and pass@k of several evaluations with intervals of their differences"
DESCRIPTION = (
    "Compare runs and evaluations. Of two or more runs it writes one page, compare.html. Of two or more evaluations it "
    "draws pass@k in compare.png, and prints the differences to the first one and where the curves cross."
)
TAKES_KEYS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    text = "folders of runs, or of evaluations; of a run an eval-* in its folder is taken, the newest that all have"
    parser.add_argument("folders", nargs="+", help=text)
    parser.add_argument("--output_dir", default="runs/compare", help="folder of the files; runs/compare where unset")


def run(args: argparse.Namespace, keys: list[str]) -> str:
    """Write the page and the figure, and return the tables and the paths."""
    warnings.simplefilter("ignore")  # a warning of a library is no line of a table
    from ..common.writing import writing
    from ..estimates.result import RESULT_FILE, evaluation_folders
    from ..report.evaluations import is_of_earlier
    from ..tracking.history import HISTORY_FILE

    names: list[str] = args.folders
    if len(names) < 2 or len({Path(name).resolve() for name in names}) < len(names):
        raise ValueError(f"compare must have two folders or more, each once, got {' '.join(names)}: name others")
    runs = [name for name in names if (Path(name) / HISTORY_FILE).is_file()]
    evaluated = {name: folder for name, folder in zip(names, evaluation_folders(names), strict=True) if folder}
    if len({folder.resolve() for folder in evaluated.values()}) < len(evaluated):
        raise ValueError(f"compare must have each evaluation once, got {' '.join(names)}: name others")
    if unknown := [name for name in names if name not in runs and name not in evaluated]:
        path = Path(unknown[0]) / RESULT_FILE
        raise ValueError(f"{path} does not exist: give the folder of an evaluation or of a run")
    if len(runs) < len(names) and (lacking := [name for name in names if name not in evaluated]):
        raise ValueError(f"the run {lacking[0]} has no evaluation: run python -m es_trl eval {lacking[0]} first")
    if earlier := [name for name, folder in evaluated.items() if is_of_earlier(folder)]:
        fault = f"{evaluated[earlier[0]]} is an evaluation of other weights than {earlier[0]} has now"
        raise ValueError(f"{fault}: evaluate again with another --output_dir, or remove the folder")
    output = Path(args.output_dir)
    with writing(output, "`--output_dir`", "set another --output_dir"):
        output.mkdir(parents=True, exist_ok=True)
    texts = _evaluations(evaluated, output) if len(evaluated) > 1 else []
    if len(runs) > 1:
        from ..report.write import write_comparison

        texts.append(str(write_comparison(runs, output / "compare.html")))
    return "\n\n".join(texts)


def _evaluations(folders: dict[str, Path], output: Path) -> list[str]:
    """Draw the figure of evaluations, and return their tables and the path of the figure."""
    from ..common.tables import as_table
    from ..estimates.result import read_evaluation
    from ..evaluation.comparison import compare, differing_settings
    from ..evaluation.figures import draw

    found = {name: read_evaluation(folder) for name, folder in folders.items()}
    last = [Path(name).name for name in found]
    labels = last if len(set(last)) == len(last) else list(found)  # short ones where they tell the folders apart
    figure = draw(dict(zip(labels, found.values(), strict=True)), output / "compare.png")
    ks = sorted({k for each in found.values() for k in each.pass_at_k})
    rows = [
        (label, *(_value(each.pass_at_k.get(k)) for k in ks))
        for label, each in zip(labels, found.values(), strict=True)
    ]
    (first, one), *others = found.items()
    texts = [as_table(("pass@k, k =", *map(str, ks)), rows)]
    texts.append("\n".join(f"{name}: {each.about} ({folders[name]})" for name, each in found.items()))
    for name, each in others:
        if differing := differing_settings(one, each):
            texts.append(f"note: {name} differs from {first} in {', '.join(differing)}")
    texts += [compare(one, each).as_text(first, name) for name, each in others]
    return [*texts, str(figure)]


def _value(interval: Any) -> str:
    return "" if interval is None else f"{interval.value:.3f}"
