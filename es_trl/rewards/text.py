"""The text of a completion."""

from collections.abc import Mapping
from typing import Any

from ..common.shown import shown_with_type


def completion_text(completion: Any, name: str = "a completion") -> str:
    """
    Return the text of a completion; that of a chat is its last assistant message, `""` where it has none.

    Args:
        completion (`str`, chat or `None`):
            Text, a list of messages, or one message. A message's content is text, `None`, or parts such as
            `{"type": "text", "text": "..."}`, of which those of other types hold no text.
        name (`str`):
            Name of the completion in a message.

    Raises:
        ValueError: for any other value.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    messages = [completion] if isinstance(completion, Mapping) else completion
    if not isinstance(messages, list | tuple):
        raise ValueError(
            f"{name} must be text or a list of messages, got {type(completion).__name__}: return one of these from "
            "the rollout"
        )
    for message in messages:
        if not isinstance(message, Mapping) or "role" not in message or not {"content", "tool_calls"} & set(message):
            raise ValueError(
                f"{name} must hold messages with `role` and `content`, got {shown_with_type(message)}: return such "
                "messages from the rollout"
            )
    said = [message.get("content") for message in messages if message["role"] == "assistant"]
    return _content_text(said[-1], name) if said else ""


def _content_text(content: Any, name: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list | tuple) or not all(isinstance(part, Mapping) for part in content):
        raise ValueError(
            f"{name} must have text or a list of parts as its `content`, got {shown_with_type(content)}: return one "
            "of these from the rollout"
        )
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"{name} must have text in its text parts, got {shown_with_type(content)}: set `text` of each part"
        )
    return "".join(texts)
