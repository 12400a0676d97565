"""
Rewards. Names load on first use: a worker that judges answers needs neither torch nor transformers.

- `named.py`: reward functions by the names that a recipe gives them. A new name is a row of `NAMED`.
- `math.py`: the math reward, and the text of a completion.
- `answers.py`: the place of the answer in a text.
- `notation.py`: notations of answers that math-verify does not read, and numbers as text.
- `golds.py`: gold answers, and whether they can be judged.
- `judge.py`: whether an answer equals a gold one, by math-verify; it runs in a worker.
- `worker.py`, `workers.py`: a process that judges, and the pool of them.

A new reward is a file here and a name below. It imports `common` alone.
"""

from ..common.lazy import lazy


_MODULES = {"math_reward": "math", "completion_text": "math", "final_answer": "answers"}
_MODULES |= {"check_golds": "golds", "gold_texts": "golds"}
__all__ = list(_MODULES)

__getattr__, __dir__ = lazy(__name__, _MODULES)
