r"""
The math reward: +1 where math-verify finds the answer equal to the solution, -1 otherwise (paper, Eq. 5).

Completions are hostile input: `9^{9^{9}}` holds the interpreter for minutes, whatever timeout is set inside it. So they
are judged in worker processes, and a process that takes too long or too much memory is killed.

The answer of a completion is looked for in this order. The first that is found counts, right or wrong:

1. the last `\boxed{}` or `\fbox{}` in all of it (`\boxed{1}` and `\boxed{2}` side by side are `1,2`);
2. the last `<answer>` tags;
3. the text after `####` or `The answer is:` in the last line, unless it is a sentence;
4. the answer that math-verify finds in the last 2,000 characters, or all of a completion of one short line of LaTeX.

Added to math-verify's rules: a decimal equals the number that it writes and no other (0.333333 is not 1/3); units that
both answers name must be the same, and so must the bases of numbers; `(1,2)` is neither `1,2` nor `\{1,2\}`; the letter
`i` is the imaginary unit; Unicode symbols, repeating decimals and `1e-7` are read.

Left to math-verify: `50\%` equals `0.5` and `50`; `x=3` equals `3`; `1,2` equals `(1,2)` where the gold answer has the
brackets; `2:3` and `2/3` are equal; `1<x<2` is no `(1,2)`. A degree sign does not count, so that `\sin 30^\circ` is no
`1/2`. Units that one answer alone names, unknown ones, and a last letter that looks like one (`2g + 3h`) do not count.
Words in `\text{}` are compared without case and spaces; other words are products of letters.
"""

from typing import Any

from transformers.utils import logging

from .golds import SECONDS_PER_ANSWER, check_installed, end_of, gold_texts
from .text import completion_text
from .workers import workers


logger = logging.get_logger(__name__)


def math_reward(completions: list[Any], solution: list[Any], **kwargs: Any) -> list[float]:
    """
    Return +1 for a completion whose answer is right and -1 for any other, one number per completion.

    An answer that takes longer than 5 seconds to judge, or more memory than a worker has (768 MiB), is wrong.

    Args:
        completions (`list[str]` or list of chats), solution (`list`):
            Completions, as [`completion_text`] takes them, and the right answer to each: text, a number, or a list of
            alternatives. Text is a bare answer, or a worked solution that ends in `#### answer` (GSM8K), in
            `The answer is: answer` or in a boxed answer (MATH).
    """
    if len(completions) != len(solution):
        raise ValueError(
            f"`solution` must have one answer per completion, got {len(solution)} for {len(completions)}: give the "
            "reward the columns of the completions' rows"
        )
    texts = [completion_text(completion, f"completion {row}") for row, completion in enumerate(completions)]
    golds = [gold_texts(gold, row) for row, gold in enumerate(solution)]
    check_installed()
    questions = [("is_right", pair) for pair in zip(texts, golds, strict=True)]
    outcomes = list(workers().ask(questions, SECONDS_PER_ANSWER))
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, str):
            raise ValueError(
                f"`solution` of row {row} holds no answer that math-verify can read: set answer_column to the column "
                f"with the right answers, or drop the row with {end_of(outcome)}"
            )
    if not_judged := outcomes.count(None):
        logger.warning(
            f"{not_judged} of {len(outcomes)} answers took longer than {SECONDS_PER_ANSWER:g} s to judge, or more "
            "memory than there is, and count as wrong"
        )
    return [1.0 if outcome else -1.0 for outcome in outcomes]
