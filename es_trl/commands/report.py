"""`python -m es_trl report RUN_DIR`."""

import argparse
import warnings


ARGUMENT = "RUN_DIR"
HELP = "write report.html, a page about a run"
DESCRIPTION = (
    "Write one HTML page about a run: charts, outcome, events, sample completions, setup. It needs no network."
)
TAKES_KEYS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("run_dir", help="the run's output_dir")
    parser.add_argument("--output", metavar="FILE", help="the page to write (default: RUN_DIR/report.html)")


def run(args: argparse.Namespace, keys: list[str]) -> str:
    """Write the page, and return its path."""
    warnings.simplefilter("ignore")  # a warning of a library is no line of a result
    from ..report.write import write_report

    return str(write_report(args.run_dir, args.output))
