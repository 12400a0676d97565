"""The Countdown lab: a verifiable task, a base model with the skill latent, and a reward, all in the package.

- `countdown.py`: the task, its data and its reward.
- `prompts.py`: the prompts of a recipe.
- `config.py`: the configuration of a short run.
- `make_base.py`: the training of the base model in `base/`.
- `evaluate.py`: pass@k of a Countdown model.
- `simulated.py`: the entropy of the lab without its model.
"""

from pathlib import Path

from .countdown import countdown_dataset, countdown_reward, is_solution


BASE_MODEL = str(Path(__file__).parent / "base")

__all__ = ["BASE_MODEL", "countdown_dataset", "countdown_reward", "is_solution"]
