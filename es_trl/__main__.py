"""The command line: `python -m es_trl train RECIPE.yaml`, `plan RECIPE.yaml` and `plot RUN_DIR`."""

import argparse
import os
import sys
import warnings
from typing import NoReturn

from .common.refusals import OPTION, run


COMMANDS = {"train": "RECIPE.yaml", "plan": "RECIPE.yaml", "plot": "RUN_DIR"}
_TRAIN = "Train a recipe. Every key of a recipe is an option, too; docs/reference/recipe_keys.md lists them."


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}: see {self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line.

    Returns:
        `int`: exit code 0, or 2 after one line on standard error where a recipe, a run or a file is refused.
    """
    return run(_command, list(sys.argv[1:] if argv is None else argv))


def _command(argv: list[str]) -> None:
    _check_order(argv)
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if args.command != "plot" and rest:
        if not rest[0].startswith("--"):
            raise ValueError(f"an option must begin with --, got {rest[0]!r} behind the recipe: write --key value")
        if any(word.partition("=")[0] == "--config" for word in rest):
            raise ValueError(f"the recipe is named without --config: python -m es_trl {args.command} RECIPE.yaml")
    if args.command == "train":
        from .run import run_recipe

        run_recipe(["--config", args.recipe, *rest])
        return
    warnings.simplefilter("ignore")  # a warning of a library is no line of a plan
    if args.command == "plan":
        from .planning.plan import plan

        _print(plan(args.recipe, args.num_processes, rest, args.config_file, args.gpu))
        return
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    from .tracking.history import HISTORY_FILE, read_history, summarize
    from .tracking.plots import plot_run

    figure = plot_run(args.run_dir)
    _print(f"{summarize(read_history(figure.with_name(HISTORY_FILE)))}\n{figure}")


def _check_order(argv: list[str]) -> None:
    """Raise unless a command stands first, and a recipe or a folder behind it."""
    if {"-h", "--help"} & set(argv):
        return
    if not argv or argv[0] not in COMMANDS:
        got = repr(argv[0]) if argv else "none"
        raise ValueError(
            f"the command must be train, plan or plot, got {got}: write python -m es_trl train RECIPE.yaml"
        )
    if len(argv) < 2 or argv[1].startswith("-"):
        what = COMMANDS[argv[0]]
        raise ValueError(f"{what} must follow {argv[0]} at once: write python -m es_trl {argv[0]} {what}")


def _print(text: str) -> None:
    """Print a result, of which the reader may take only a part, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush when Python ends


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m es_trl",
        description="Train a recipe, plan it, or draw a run.",
        epilog=f"{OPTION} shows where a refusal comes from.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    train = commands.add_parser("train", allow_abbrev=False, help="train a recipe", description=_TRAIN)
    plan = commands.add_parser(
        "plan", allow_abbrev=False, help="geometry, schedule, memory and time of a recipe, without loading a model"
    )
    for command in (train, plan):
        command.add_argument("recipe", help="the recipe's YAML file; options may follow, as --max_steps 16")
    plan.add_argument("--num_processes", type=int, help="processes of the launch; the config's where unset")
    plan.add_argument("--config_file", help="accelerate's config of the launch, which says how the model is sharded")
    plan.add_argument("--gpu", default="h100-80", help="GPU of the projection: a100-40, a100-80, h100-80 or h200")
    plot = commands.add_parser("plot", help="draw es_curves.png of a run again, and sum up the run")
    plot.add_argument("run_dir", help="the run's output_dir")
    return parser


if __name__ == "__main__":
    sys.exit(main())
