"""The command line, for example `python -m es_trl train RECIPE.yaml`; `commands/` has one module per command."""

import argparse
import importlib
import os
import sys
from typing import Any, NoReturn

from .commands import COMMANDS
from .common.refusals import OPTION, run


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
    modules = {name: importlib.import_module(f".commands.{name}", __package__) for name in COMMANDS}
    _check_order(argv, modules)
    parser = _parser(modules)
    args, rest = parser.parse_known_args(argv)
    module = modules[args.command]
    if rest and not module.TAKES_KEYS:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest and not rest[0].startswith("--"):
        raise ValueError(f"an option must begin with --, got {rest[0]!r} behind the recipe: write --key value")
    if any(word.partition("=")[0] == "--config" for word in rest):
        raise ValueError(f"the recipe is named without --config: python -m es_trl {args.command} {module.ARGUMENT}")
    if (text := module.run(args, rest)) is not None:
        _print(text)


def _check_order(argv: list[str], modules: dict[str, Any]) -> None:
    """Raise unless a command stands first, and a recipe or a folder behind it."""
    if {"-h", "--help"} & set(argv):
        return
    if not argv or argv[0] not in modules:
        got = repr(argv[0]) if argv else "none"
        names = f"{', '.join(COMMANDS[:-1])} or {COMMANDS[-1]}"
        raise ValueError(f"the command must be {names}, got {got}: write python -m es_trl train RECIPE.yaml")
    if len(argv) < 2 or argv[1].startswith("-"):
        what = modules[argv[0]].ARGUMENT
        raise ValueError(f"{what} must follow {argv[0]} at once: write python -m es_trl {argv[0]} {what}")


def _print(text: str) -> None:
    """Print a result, of which the reader may take only a part, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush when Python ends


def _parser(modules: dict[str, Any]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m es_trl",
        description="Train a recipe, plan it, and look at runs.",
        epilog=f"{OPTION} shows where a refusal comes from.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    for name, module in modules.items():
        own = commands.add_parser(name, allow_abbrev=False, help=module.HELP, description=module.DESCRIPTION)
        module.add_arguments(own)
    return parser


if __name__ == "__main__":
    sys.exit(main())
