"""The directive `command-output`: a command line of es_trl, run while the site is built, with what it prints."""

import contextlib
import io
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from es_trl.__main__ import main


ROOT = Path(__file__).parents[2]
PREFIX = "python -m es_trl"
WIDTH = "84"  # columns of the help


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """Stand in a folder with the recipes and a copy of the demo's results, so that no command writes into the tree."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("recipes", "accelerate_configs"):
            Path(folder, name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "results/countdown_es", Path(folder, "results/countdown_es"))
        with contextlib.chdir(folder), mock.patch.dict(os.environ, COLUMNS=WIDTH):
            yield


def output_of(words: list[str]) -> tuple[str, int]:
    """Return what the command line prints on both streams, and its exit code."""
    printed = io.StringIO()
    with workplace(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return "\n".join(line.rstrip() for line in printed.getvalue().rstrip().split("\n")), code


class CommandOutput(SphinxDirective):
    """A console with the command, its output, and its exit code where that is not 0."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        command = " ".join(self.arguments[0].split())
        if not command.startswith(PREFIX):
            raise self.error(f"the command must begin with {PREFIX}, got {command}")
        text, code = output_of(shlex.split(command.removeprefix(PREFIX)))
        shown = f"$ {command}\n{text}" + (f"\n$ echo $?\n{code}" if code else "")
        return [nodes.literal_block(shown, shown, language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("command-output", CommandOutput)
    return {"parallel_read_safe": True}
