"""`python -m es_trl train RECIPE.yaml`."""

import argparse


ARGUMENT = "RECIPE.yaml"
HELP = "train a recipe"
DESCRIPTION = "Train a recipe. Every key of a recipe is an option, too; docs/reference/recipe_keys.md lists them."
TAKES_KEYS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes beside the keys of a recipe."""
    parser.add_argument("recipe", help="the recipe's YAML file; options may follow, as --max_steps 16")


def run(args: argparse.Namespace, keys: list[str]) -> None:
    """Train; `keys` are the options that override the recipe."""
    from ..run import run_recipe

    run_recipe(["--config", args.recipe, *keys])
