"""`python -m es_trl eval MODEL`."""

import argparse
import importlib.util
import re
import warnings
from pathlib import Path
from typing import Any


ARGUMENT = "MODEL"
HELP = "pass@k and pass^k of a model on problems that a reward judges"
DESCRIPTION = (
    "Sample completions of each problem, and judge them: a completion is right if every reward is above 0. The same "
    "command goes on where it was killed. In the folder of a run, what is not given is as in its es_recipe.yaml."
)
TAKES_KEYS = False
_OWN = ("command", "output_dir", "data", "split", "k")  # which are no fields of the settings by these names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add, text = parser.add_argument, "as in a recipe"
    add("model", help="a folder, a name on the Hub, a checkpoint, or the folder of an adapter")
    add("--data", help="dataset on the Hub, or a .json, .jsonl or .parquet file; the lab's prompts for countdown")
    add("--split", help="its split, or a part as 'train[:100]'; train where unset, 500 prompts for the lab")
    add("--dataset_config", help="configuration of a Hub dataset")
    add("--reward", nargs="+", help="math, countdown or my_file.py:my_reward; of several, all must be above 0")
    add("--n", type=int, default=256, help="completions per problem; 256 where unset")
    add("--k", type=_numbers, help="values of k, as 1,2,4; powers of two and n where unset")
    add("--temperature", type=float, help="1 where unset; 0 takes the likeliest token")
    add("--top_p", type=float, help="1 where unset")
    add("--max_new_tokens", type=int, help="longest completion; the run's max_completion_length, else 256")
    add("--batch_size", type=int, help="completions at once; 128, and 4096 with vllm, where unset")
    add("--seed", type=int, help="0 where unset")
    add("--backend", choices=("transformers", "vllm"), help="vllm where it and a GPU are there, else transformers")
    add("--output_dir", help="folder of the results; MODEL/eval-DATA for a local model where unset")
    for name in ("prompt_column", "answer_column", "prompt_template", "prompt_suffix", "prompt_format"):
        add(f"--{name}", help=text)


def run(args: argparse.Namespace, keys: list[str]) -> str:
    """Evaluate, draw the figure, and return a table."""
    warnings.simplefilter("ignore")  # a warning of a library is no line of a table
    from ..common.shown import wrapped
    from ..evaluation.evaluating import evaluate
    from ..evaluation.figures import FIGURE_FILE, draw
    from ..evaluation.settings import EvaluationSettings, recipe_of, with_defaults

    given = {name: value for name, value in vars(args).items() if name not in _OWN and value is not None}
    named: dict[str, Any] = {"dataset_name": args.data, "dataset_split": args.split, "ks": args.k}
    given |= {name: value for name, value in named.items() if value is not None}
    given.setdefault("backend", _backend())
    settings: EvaluationSettings = with_defaults(given, recipe_of(args.model))
    folder = Path(args.output_dir or _folder(settings.model, str(settings.data.dataset_name)))
    try:
        found = evaluate(settings, folder)
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted: the same command goes on in {folder}") from None
    try:
        figure = str(draw({settings.model: found}, folder / FIGURE_FILE))
    except ImportError as error:  # the estimates are there without it
        figure = str(error)
    mean = found.avg_at_n
    head = f"{found.problems} problems x {found.n} completions of {found.data}, judged by {', '.join(found.rewards)}"
    lines = [
        wrapped(f"{head}; {found.tokens:.1f} tokens per completion, {100 * found.truncated:.1f} % truncated"),
        f"avg@{found.n} {mean.value:.4f} ({mean.low:.4f} to {mean.high:.4f})",
        "",
        found.as_table(),
        "",
        figure,
    ]
    return "\n".join(lines)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.replace(" ", "").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers with commas, as 1,2,4, got {text!r}") from None


def _backend() -> str:
    """Return vllm where it is installed and there is a GPU, else transformers."""
    if importlib.util.find_spec("vllm") is None:
        return "transformers"
    import torch

    return "vllm" if torch.cuda.is_available() else "transformers"


def _folder(model: str, data: str) -> Path:
    """Return the folder of the results where none is given."""
    path = Path(data)
    name = path.stem if path.suffix in (".json", ".jsonl", ".parquet") else data.rpartition("/")[2]
    model_name, name = (re.sub(r"[^\w.-]+", "-", each).strip("-") for each in (model, name))
    own, package = Path(model).expanduser(), Path(__file__).parent.parent
    if own.is_dir() and package not in own.absolute().parents:  # the lab's base model is a part of the package
        return own / f"eval-{name}"
    return Path("runs/eval") / f"{model_name}-{name}"
