"""`python -m es_trl plan RECIPE.yaml` and `python -m es_trl plot RUN_DIR`."""

import argparse
import sys
import warnings

from .common.refusals import error_line


def main(argv: list[str] | None = None) -> int:
    """
    Run the command line.

    Returns:
        `int`: 0, or 1 after one line on standard error where a recipe, a run or a file is refused.
    """
    parser = argparse.ArgumentParser(
        prog="python -m es_trl", description="Look at recipes and runs.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser(
        "plan", allow_abbrev=False, help="geometry, schedule, memory and time of a recipe, without loading a model"
    )
    plan.add_argument("recipe", help="the recipe's YAML; options of the recipe may follow")
    plan.add_argument("--num_processes", type=int, help="processes that will train; the config's where unset")
    plan.add_argument("--config_file", help="the launch's accelerate config, which says how the model is sharded")
    plan.add_argument("--gpu", default="h100-80", help="for memory and time: a100-40, a100-80, h100-80 or h200")
    plot = commands.add_parser("plot", help="draw es_curves.png of a run again, and sum the run up")
    plot.add_argument("run_dir", help="the run's output_dir")
    args, rest = parser.parse_known_args(argv)
    if rest and args.command != "plan":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    warnings.simplefilter("ignore")  # one line where something is refused, and no other
    try:
        if args.command == "plan":
            from .planning.plan import plan as make_plan

            print(make_plan(args.recipe, args.num_processes, rest, args.config_file, args.gpu))
        else:
            from .tracking.history import HISTORY_FILE, read_history, summarize
            from .tracking.plots import plot_run

            figure = plot_run(args.run_dir)
            print(summarize(read_history(figure.with_name(HISTORY_FILE))), figure, sep="\n")
    except (ValueError, ImportError, OSError) as error:
        print(error_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
