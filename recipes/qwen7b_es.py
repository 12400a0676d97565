"""Entropy-scheduled GRPO of Qwen2.5-7B on mathematics.

accelerate launch --config_file accelerate_configs/zero3.yaml recipes/qwen7b_es.py
"""

from es_trl.common.refusals import run
from es_trl.data import load_named, load_problems
from es_trl.recipe import parse_recipe, train
from es_trl.rewards import math_reward


def main() -> None:
    recipe = parse_recipe(__file__)
    train(recipe, load_named(recipe.data, load_problems), math_reward)


if __name__ == "__main__":
    run(main)
