"""`python -m es_trl plot RUN_DIR`."""

import argparse
import warnings


ARGUMENT = "RUN_DIR"
HELP = "draw es_curves.png of a run again, and sum up the run"
DESCRIPTION = None
TAKES_KEYS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("run_dir", help="the run's output_dir")


def run(args: argparse.Namespace, keys: list[str]) -> str:
    """Draw the figure, and return the summary of the run and the figure's path."""
    warnings.simplefilter("ignore")  # a warning of a library is no line of a summary
    from ..tracking.history import HISTORY_FILE, read_history, summarize
    from ..tracking.plots import plot_run

    figure = plot_run(args.run_dir)
    return f"{summarize(read_history(figure.with_name(HISTORY_FILE)))}\n{figure}"
