"""
The math reward: +1 where math-verify finds the answer equal to the solution, -1 otherwise (paper, Eq. 5).

`docs/data.md` has the rules by which an answer is found and compared. Completions are hostile input: `9^{9^{9}}` holds
the interpreter for minutes, whatever timeout is set inside it. So they are judged in processes that can be killed.
"""

from collections.abc import Mapping
from typing import Any

from transformers.utils import logging

from ..common.shown import shown_with_type
from .golds import SECONDS_PER_ANSWER, check_installed, end_of, gold_texts
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
        must = f"must have one answer per completion, got {len(solution)} for {len(completions)}"
        raise ValueError(f"`solution` {must}: give the reward the columns of the completions' rows")
    texts = [completion_text(completion, f"completion {row}") for row, completion in enumerate(completions)]
    golds = [gold_texts(gold, row) for row, gold in enumerate(solution)]
    check_installed()
    questions = [("is_right", pair) for pair in zip(texts, golds, strict=True)]
    outcomes = list(workers().ask(questions, SECONDS_PER_ANSWER))
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, str):
            fault = f"`solution` of row {row} holds no answer that math-verify can read"
            raise ValueError(f"{fault}: set answer_column to the answers, or drop the row with {end_of(outcome)}")
    if not_judged := outcomes.count(None):
        took = f"took longer than {SECONDS_PER_ANSWER:g} s to judge, or more memory than there is"
        logger.warning(f"{not_judged} of {len(outcomes)} answers {took}, and count as wrong")
    return [1.0 if outcome else -1.0 for outcome in outcomes]


def completion_text(completion: Any, name: str = "a completion") -> str:
    """
    Return the text of a completion, which is text, `None`, a message, or a list of messages.

    That of a chat is in its last assistant message; it is `""` where there is none. A content is text, `None`, or parts
    such as `{"type": "text", "text": "..."}`. `name` is the completion's in a refusal.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    messages = [completion] if isinstance(completion, Mapping) else completion
    if not isinstance(messages, list | tuple):
        raise _refusal(name, "be text or a list of messages", completion)
    for message in messages:
        if not isinstance(message, Mapping) or "role" not in message or not {"content", "tool_calls"} & set(message):
            raise _refusal(name, "hold messages with `role` and `content`", message)
    content = ([None] + [message.get("content") for message in messages if message["role"] == "assistant"])[-1]
    if content is None or isinstance(content, str):
        return content or ""
    try:
        return "".join(part["text"] for part in content if part.get("type") == "text")
    except (TypeError, AttributeError, KeyError):
        raise _refusal(name, "have text, or a list of parts with text, as its `content`", content) from None


def _refusal(name: str, must: str, value: Any) -> ValueError:
    return ValueError(f"{name} must {must}, got {shown_with_type(value)}: return it like this from `rollout_func`")
