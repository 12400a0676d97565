"""The labs, for runs on a CPU: Countdown with a small base model (minutes), and SmolLM2 on arithmetic (an hour).

- `countdown.py`: the task, its dataset and its reward.
- `prompts.py`: the prompts that a recipe names.
- `config.py`: the configuration of a short run.
- `make_base.py`: the training of the base model in `base/`.
- `word_sums.py`: arithmetic in words, the task of a real language model.
- `smollm.py`: the folder with SmolLM2-135M-Instruct and that task.
- `simulated.py`: a simulation of the lab's entropy without a model.
"""

from pathlib import Path

from .countdown import countdown_dataset, countdown_reward, is_solution


BASE_MODEL = str(Path(__file__).parent / "base")

__all__ = ["BASE_MODEL", "countdown_dataset", "countdown_reward", "is_solution"]
