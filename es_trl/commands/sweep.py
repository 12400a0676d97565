"""`python -m es_trl sweep RECIPE.yaml --grid KEY=VALUES`."""

import argparse
import warnings


ARGUMENT = "RECIPE.yaml"
HELP = "train a recipe at every point of a grid, and find the best point for each k of pass@k"
DESCRIPTION = (
    "Train a recipe at every point of a grid with several seeds, evaluate each run, and find the best point for each k "
    "of pass@k. A sweep that was stopped goes on when it is started again."
)
TAKES_KEYS = True
_KS = (1, 8, 64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes beside the keys of a recipe."""
    parser.add_argument("recipe", help="the recipe's YAML file; options may follow, as --max_steps 16")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="a key of the recipe and its values, as entropy_schedule.target=0.2,0.4; give it once per key",
    )
    parser.add_argument("--seeds", type=int, default=1, help="runs per point, with seeds 0, 1 and so on; 1 if unset")
    parser.add_argument("--data", help="data of the evaluation, as for eval")
    parser.add_argument("--split", help="its split, as for eval")
    parser.add_argument("--n", type=int, default=64, help="completions per problem of the evaluation; 64 if unset")
    parser.add_argument("--k", help="values of k, as 1,8,64; these as far as --n allows if unset")
    parser.add_argument("--index", type=int, help="make only this run, counted from 0, as in an array of jobs")
    parser.add_argument("--output_dir", help="folder of the sweep; runs/sweep/NAME_OF_RECIPE if unset")


def run(args: argparse.Namespace, keys: list[str]) -> None:
    """Make the runs, and print their results; exit with 1 if a run failed. `keys` override the recipe."""
    warnings.simplefilter("ignore")  # a warning of a library is no result
    from pathlib import Path

    from ..recipe import read_yaml
    from ..sweep.grid import check_given, read_grid
    from ..sweep.record import Settings
    from ..sweep.sweep import sweep

    for name in ("seeds", "n"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}: set a larger one")
    grid = read_grid(args.grid)
    check_given(grid, keys)
    recipe = Path(args.recipe)
    read_yaml(recipe)  # refuses a file that is none
    text = recipe.read_text(encoding="utf-8")
    settings = Settings(text, keys, grid, args.seeds, args.data, args.split, args.n, _ks(args))
    folder = Path(args.output_dir or f"runs/sweep/{recipe.stem}").absolute()
    text, is_whole = sweep(settings, recipe, folder, args.index)
    print(text, flush=True)
    if not is_whole:
        raise SystemExit(1)


def _ks(args: argparse.Namespace) -> list[int]:
    """Return the values of k in ascending order, or raise."""
    try:
        if args.k is None:
            return [k for k in _KS if k <= args.n]
        return sorted({int(word) for word in args.k.split(",")})
    except ValueError:
        raise ValueError(f"--k must be whole numbers, got {args.k!r}: write for example 1,8,64") from None
