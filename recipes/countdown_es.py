"""Entropy-scheduled GRPO on the Countdown lab, on a CPU: `accelerate launch recipes/countdown_es.py`."""

import torch

from es_trl.common.refusals import run
from es_trl.data import load_named
from es_trl.lab import BASE_MODEL, countdown_reward
from es_trl.lab.prompts import load_countdown
from es_trl.recipe import parse_recipe, train


def main() -> None:
    torch.set_num_threads(1)  # more threads make a model this small slower, on shared cores by far
    recipe = parse_recipe(__file__)
    if recipe.model.model_name_or_path is None:
        recipe.model.model_name_or_path = BASE_MODEL
    datasets = load_named(recipe.data, lambda data: load_countdown(data, recipe.training.seed))
    train(recipe, datasets, countdown_reward)


if __name__ == "__main__":
    run(main)
