"""What a reward is handed, as text."""

from collections.abc import Mapping
from typing import Any


def completion_text(completion: Any, name: str = "a completion") -> str:
    """
    The text of a completion: of a chat, what its last assistant message says.

    Args:
        completion (`str`, chat or `None`):
            Text, a list of messages, or one message. A message's content is text, `None`, or parts such as
            `{"type": "text", "text": "..."}`, of which those of other types hold no text.
        name (`str`):
            Which one it is, for the message.

    Returns:
        `str`: empty for `None`, an empty chat, one without an assistant's message, and a mere tool call.

    Raises:
        ValueError: for anything else.
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
                f"{name} must hold messages with `role` and `content`, got {_short(message)}: return such messages "
                "from the rollout"
            )
    said = [message.get("content") for message in messages if message["role"] == "assistant"]
    return _content_text(said[-1], name) if said else ""


def _content_text(content: Any, name: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list | tuple) or not all(isinstance(part, Mapping) for part in content):
        raise ValueError(
            f"{name} must have text or a list of parts as its `content`, got {_short(content)}: return one of these "
            "from the rollout"
        )
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must have text in its text parts, got {_short(content)}: set `text` of each part")
    return "".join(texts)


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"
