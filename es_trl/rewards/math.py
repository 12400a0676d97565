"""
The math reward: +1 if math-verify finds the answer equal to the solution, else -1 (paper, Eq. 5).

`docs/guides/data.md` has the rules by which an answer is found and compared. A completion can be hostile: `9^{9^{9}}`
blocks the interpreter for minutes, and no timeout inside it helps. So completions are judged in processes that can be
killed.
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
    Return +1 for each completion whose answer is right, and -1 for each other one.

    Source: the paper, Eq. 5. An answer counts as wrong if its judgement takes more than 5 seconds or 768 MiB of memory.

    Args:
        completions (`list[str]` or list of chats):
            Completions, as [`completion_text`] takes them.
        solution (`list`):
            The right answer to each completion: text, a number, or a list of alternatives. Text is a bare answer, or a
            worked solution that ends in `#### answer` (GSM8K), in `The answer is: answer` or in a boxed answer (MATH).
        kwargs:
            Other columns of the dataset, which are not used.

    Returns:
        `list[float]`: one reward per completion.

    Raises:
        ValueError: if the lists have different lengths, a solution cannot be read, or math-verify is not installed.
    """
    if len(completions) != len(solution):
        must = f"must have one answer per completion, got {len(solution)} for {len(completions)} completions"
        raise ValueError(f"`solution` {must}: pass the column `solution` of the same rows as the completions")
    texts = [completion_text(completion, f"completion {row}") for row, completion in enumerate(completions)]
    golds = [gold_texts(gold, row) for row, gold in enumerate(solution)]
    check_installed()
    questions = [("is_right", pair) for pair in zip(texts, golds, strict=True)]
    outcomes = list(workers().ask(questions, SECONDS_PER_ANSWER))
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, str):
            fault = f"`solution` of row {row} has the answer {end_of(outcome)}, which math-verify cannot read"
            raise ValueError(f"{fault}: set answer_column to the column with the answers, or drop the row")
    if not_judged := outcomes.count(None):
        took = f"took more than {SECONDS_PER_ANSWER:g} s to judge or more memory than allowed"
        logger.warning(f"{not_judged} of {len(outcomes)} answers count as wrong, because they {took}")
    return [1.0 if outcome else -1.0 for outcome in outcomes]


def completion_text(completion: Any, name: str = "a completion") -> str:
    """
    Return the text of a completion.

    Args:
        completion (`str`, `dict`, `list[dict]` or `None`):
            Text, a message, or a chat as a list of messages. The content of a message is text, `None`, or a list of
            parts such as `{"type": "text", "text": "..."}`.
        name (`str`, *optional*, defaults to `"a completion"`):
            Name of the completion in errors.

    Returns:
        `str`: the text itself, or that of the last assistant message; `""` if there is no text.

    Raises:
        ValueError: if the completion has another form.
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
    return ValueError(f"{name} must {must}, got {shown_with_type(value)}: correct what `rollout_func` returns")
