"""The progress bars of the libraries, which fill a file with carriage returns."""

import contextlib
import sys
from collections.abc import Iterator

import datasets
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging


@contextlib.contextmanager
def no_bars_in_files() -> Iterator[None]:
    """Keep progress bars away while the block runs, unless standard error is a terminal."""
    if sys.stderr.isatty():
        yield
        return
    with contextlib.ExitStack() as after:
        if logging.is_progress_bar_enabled():
            logging.disable_progress_bar()
            after.callback(logging.enable_progress_bar)
        if datasets.is_progress_bar_enabled():
            datasets.disable_progress_bars()
            after.callback(datasets.enable_progress_bars)
        if not are_progress_bars_disabled():
            disable_progress_bars()
            after.callback(enable_progress_bars)
        yield
