"""Entropy-scheduled GRPO on the Countdown lab, on a CPU: `accelerate launch recipes/countdown_es.py`."""

import torch
from datasets import Dataset

from es_trl.data import load_rows
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.recipe import parse_recipe, train


NUM_PROMPTS = 20_000


def main() -> None:
    torch.set_num_threads(1)  # more threads make a model this small slower, by far on shared cores
    recipe = parse_recipe(__file__)
    if recipe.model.model_name_or_path is None:
        recipe.model.model_name_or_path = BASE_MODEL
    if recipe.data.dataset_name is None:
        dataset = countdown_dataset(NUM_PROMPTS, seed=recipe.training.seed)
    else:
        rows = load_rows(recipe.data, ("numbers", "target"))
        columns = {"prompt": recipe.data.prompt_column, "numbers": "numbers", "target": "target"}
        dataset = Dataset.from_dict({name: rows[column] for name, column in columns.items()})
    train(recipe, dataset, countdown_reward)


if __name__ == "__main__":
    main()
