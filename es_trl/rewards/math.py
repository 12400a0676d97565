"""The math reward: +1 where math-verify finds the answer equal to the solution, -1 otherwise (paper, Eq. 5).

Answers of a model are hostile input: `9^{9^{9}}` holds the interpreter for minutes, whatever timeout is set inside it.
So answers are judged in worker processes, and one that takes too long is ended with its worker.
"""

import atexit
import functools
import logging as logging_module
import multiprocessing
import os
import re
from concurrent.futures import TimeoutError
from typing import Any

from transformers.utils import logging


logger = logging.get_logger(__name__)

SECONDS_PER_ANSWER = 5.0
MAX_ANSWER_CHARS = 2000  # of the end of a completion, where its answer is
_MARKED_ANSWERS = (r"####\s*(.+)\s*\Z", r"The answer is:\s*(.+)\s*\Z")  # how GSM8K and MATH close a solution


def math_reward(completions: list[Any], solution: list[str], **kwargs: Any) -> list[float]:
    """
    Judge mathematical answers.

    Args:
        completions (`list[str]` or list of chats):
            What the model wrote; a chat's last message counts.
        solution (`list[str]`):
            The right answers, one a completion: a bare answer, or a worked solution that ends in `#### answer` (GSM8K),
            in `The answer is: answer` or in a boxed answer (MATH).

    Returns:
        `list[float]`: +1 or -1 a completion. An answer that takes longer than 5 seconds to judge is wrong.

    Raises:
        ValueError: where math-verify or pebble is not installed, or a solution holds no answer that can be read.
    """
    texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    futures = [
        _pool().schedule(judge, args=(text[-MAX_ANSWER_CHARS:], gold), timeout=SECONDS_PER_ANSWER)
        for text, gold in zip(texts, solution, strict=True)
    ]
    outcomes = [_outcome(future) for future in futures]
    not_judged = outcomes.count(None)
    if not_judged:
        logger.warning(
            f"{not_judged} of {len(outcomes)} answers took longer than {SECONDS_PER_ANSWER:g} s to judge, or more "
            "memory than there is, and count as wrong"
        )
    return [1.0 if outcome else -1.0 for outcome in outcomes]


def judge(answer: str, solution: str) -> bool:
    """
    Whether an answer equals the solution. Runs in a worker.

    Raises:
        ValueError: where the solution holds no answer that can be read.
    """
    from math_verify import parse, verify

    gold = parse(f"${final_answer(solution)}$", parsing_timeout=None)
    if not gold:
        raise ValueError(
            f"the solution {solution[-80:]!r} holds no answer that math-verify can read: set answer_column to the "
            "column with the right answers, or drop the row"
        )
    return verify(gold, parse(answer, parsing_timeout=None), timeout_seconds=None)


def final_answer(solution: str) -> str:
    """The answer of a solution: what follows its closing mark, what is in its last box, or all of it."""
    for pattern in _MARKED_ANSWERS:
        marked = re.search(pattern, solution)
        if marked:
            return marked.group(1).strip().strip("$")
    start = solution.rfind("\\boxed{")
    if start < 0:
        return solution.strip().strip("$")
    depth = 0
    for end in range(start + len("\\boxed"), len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[end], 0)
        if depth == 0:
            return solution[start + len("\\boxed{") : end]
    return solution[start + len("\\boxed{") :]


def _outcome(future: Any) -> bool | None:
    """The judgement, or `None` where there is none: too slow, or its worker ran out of memory."""
    from pebble import ProcessExpired

    try:
        return future.result()
    except (TimeoutError, ProcessExpired):
        return None


def _begin_worker() -> None:
    # what is slow at first use belongs here, where no answer's time runs
    from math_verify import parse, verify

    # math-verify warns in every process that its own timeouts are off; ours end the worker instead
    logging_module.getLogger("math_verify").setLevel(logging_module.ERROR)
    verify(parse("$1$", parsing_timeout=None), parse("1", parsing_timeout=None), timeout_seconds=None)


@functools.cache
def _pool() -> Any:
    """This process's workers, started at the first answer; spawned, because a fork would copy the trainer's threads."""
    try:
        import math_verify  # noqa: F401
        from pebble import ProcessPool
    except ImportError as error:
        raise ValueError(
            f"the math reward needs {error.name}, which is not installed: pip install 'es-trl[math]'"
        ) from None
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = max(1, min(8, (os.cpu_count() or 1) // processes))
    pool = ProcessPool(workers, initializer=_begin_worker, context=multiprocessing.get_context("spawn"))
    atexit.register(pool.stop)
    return pool
