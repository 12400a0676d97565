"""The page about a run, which is written when the run ends and before uploads."""

import importlib.util
from pathlib import Path

from transformers.utils import logging

from ..common.refusals import error_line


logger = logging.get_logger(__name__)


def write_page(run_dir: Path) -> bool:
    """
    Write `report.html` if altair and vl-convert-python are installed, and return whether it is there.

    It takes some seconds. A page that cannot be written is one line in the log, and never ends the run.
    """
    if not all(importlib.util.find_spec(package) for package in ("altair", "vl_convert")):
        return False
    from ..report.write import write_report  # altair loads slowly, and is not needed before the end

    try:
        write_report(run_dir)
    except Exception as error:  # altair and vl-convert may raise anything
        logger.warning(f"report.html is not written: {error_line(error).removeprefix('error: ')}")
        return False
    return True
