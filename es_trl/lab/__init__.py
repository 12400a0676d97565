"""The Countdown lab: a verifiable task, a reward and a small base model, for runs of minutes on a CPU.

- `countdown.py`: the task, its dataset and its reward.
- `prompts.py`: the prompts that a recipe names.
- `config.py`: the configuration of a short run.
- `make_base.py`: the training of the base model in `base/`.
- `simulated.py`: a simulation of the lab's entropy without a model.
"""

from pathlib import Path

from .countdown import countdown_dataset, countdown_reward, is_solution


BASE_MODEL = str(Path(__file__).parent / "base")

__all__ = ["BASE_MODEL", "countdown_dataset", "countdown_reward", "is_solution"]
