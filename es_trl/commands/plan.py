"""`python -m es_trl plan RECIPE.yaml`."""

import argparse
import warnings


ARGUMENT = "RECIPE.yaml"
HELP = "geometry, schedule, memory and time of a recipe, without loading a model"
DESCRIPTION = None
TAKES_KEYS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes beside the keys of a recipe."""
    parser.add_argument("recipe", help="the recipe's YAML file; options may follow, as --max_steps 16")
    parser.add_argument("--num_processes", type=int, help="processes of the launch; the config's where unset")
    parser.add_argument("--config_file", help="accelerate's config of the launch, which says how the model is sharded")
    parser.add_argument("--gpu", default="h100-80", help="GPU of the projection: a100-40, a100-80, h100-80 or h200")


def run(args: argparse.Namespace, keys: list[str]) -> str:
    """Return the plan; `keys` are the options that override the recipe."""
    warnings.simplefilter("ignore")  # a warning of a library is no line of a plan
    from ..planning.plan import plan

    return plan(args.recipe, args.num_processes, keys, args.config_file, args.gpu)
