"""The text of a completion."""

from collections.abc import Mapping
from typing import Any

from ..common.shown import shown_with_type


def completion_text(completion: Any, name: str = "a completion") -> str:
    """
    Return the text of a completion; that of a chat is its last assistant message, `""` where it has none.

    Args:
        completion (`str`, chat or `None`):
            Text, a list of messages, or one message, whose content is text, `None`, or parts such as
            `{"type": "text", "text": "..."}`, of which those of other types hold no text.
        name (`str`):
            Name of the completion in a refusal.
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
    return ValueError(f"{name} must {must}, got {shown_with_type(value)}: return it like this from the rollout")
