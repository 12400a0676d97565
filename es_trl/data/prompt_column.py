"""Prompts of a dataset as text or chats. A row with a wrong prompt is named."""

from typing import Any

from ..common.shown import shown
from .arguments import DataArguments
from .prompt_template import fill_template
from .rows import Rows, is_unicode, leaf_names


_FORM = 'text or a list of messages as [{"role": "user", "content": "..."}]'

Chat = list[dict[str, Any]]


def check_prompts(rows: Rows, column: str) -> list[str] | list[Chat]:
    """
    Return the prompts of a column, unchanged: text in every row, or a chat in every row.

    A chat is a list of messages with `role` and `content`, of which the last is the user's. A content is text, or a
    list of parts with a `type`.
    """
    prompts = rows.column(column)
    rows.refuse({place: fault for place, prompt in enumerate(prompts) if (fault := _fault(prompt, column))})
    kinds = ["text" if isinstance(prompt, str) else "a chat" for prompt in prompts]
    first = f"in {column!r}, and row {rows.numbers[0]} has {kinds[0]}: give all rows the same"
    rows.refuse({place: f"has {kind} {first}" for place, kind in enumerate(kinds) if kind != kinds[0]})
    return prompts


def plain_prompts(rows: Rows, args: DataArguments) -> list[str] | list[Chat]:
    """Return the prompts of rows as the template makes them, or as the column has them."""
    if args.prompt_template is not None:
        return fill_template(args.prompt_template, rows)
    return check_prompts(rows, args.prompt_column)


def read_prompts(rows: Rows, args: DataArguments) -> list[str] | list[Chat]:
    """Return the prompts of rows as a model takes them. In a chat, the suffix is added to the last message."""
    column, suffix, prompt_format = args.prompt_column, args.prompt_suffix, args.prompt_format
    prompts = plain_prompts(rows, args)
    if isinstance(prompts[0], str):
        texts = [prompt + suffix for prompt in prompts]
        return texts if prompt_format == "text" else [[{"role": "user", "content": text}] for text in texts]
    if prompt_format == "text":
        rows.refuse({0: f"has a chat in {column!r}, and `prompt_format` is 'text': set it to chat, or write text"})
    chats = [[*chat[:-1], {**chat[-1], "content": _add(suffix, chat[-1]["content"])}] for chat in prompts]
    if any(isinstance(message["content"], list) for chat in chats for message in chat):
        return [[{**message, "content": _as_parts(message["content"])} for message in chat] for chat in chats]
    return chats


def _add(suffix: str, content: str | Chat) -> str | Chat:
    if isinstance(content, str):
        return content + suffix
    texts = [place for place, part in enumerate(content) if part["type"] == "text"]
    if not suffix or not texts:
        return [*content, {"type": "text", "text": suffix}] if suffix else content
    last = content[texts[-1]]
    return [*content[: texts[-1]], {**last, "text": last["text"] + suffix}, *content[texts[-1] + 1 :]]


def _as_parts(content: str | Chat | None) -> Chat | None:
    """Return a content as a list of parts: a column of Arrow cannot hold both text and lists."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _fault(prompt: Any, column: str) -> str | None:
    """Return the fault of a prompt as the end of a sentence about its row, or `None` for a good prompt."""
    if prompt is None:
        return f"has no {column!r}: fill it in, or drop the row"
    if prompt == [] or isinstance(prompt, str) and not prompt.strip():
        return f"has an empty {column!r}: drop the row"
    if isinstance(prompt, str):
        return None if is_unicode(prompt) else f"has no valid Unicode in {column!r}: correct or drop the row"
    if isinstance(prompt, dict) and not {"role", "content"} <= prompt.keys():
        fields = ", ".join(leaf_names(prompt, column))
        return f"has a mapping in {column!r}, which must hold {_FORM}: set prompt_column to a field ({fields})"
    if not isinstance(prompt, list):
        return f"has {shown(prompt)} in {column!r}, which must hold {_FORM}: write it as one of these"
    for message in prompt:
        if fault := _message_fault(message):
            return f"has the message {shown(message)} in {column!r}, {fault}"
    role = prompt[-1]["role"]
    ends = f"has a chat in {column!r} that ends with the role {role!r}: end it with a message of the role 'user'"
    return None if role == "user" else ends


def _message_fault(message: Any) -> str | None:
    if isinstance(message, dict) and {"from", "value"} <= message.keys():
        return "which is ShareGPT's form: rename from to role (human to user, gpt to assistant) and value to content"
    if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
        return f"which must have a role and a content: write the prompt as {_FORM}"
    role, content = message["role"], message["content"]
    if not isinstance(role, str) or not role.strip():
        return "whose role must be text: set user, assistant or system"
    if role == "assistant" and message.get("tool_calls") and not content or _says_something(content):
        return None
    return "whose content must be text that is not empty, or a list of parts with a type: correct or drop the row"


def _says_something(content: Any) -> bool:
    """Return whether a content is text that is not blank, or a list of parts with at least one that is not blank."""
    if isinstance(content, str):
        return bool(content.strip()) and is_unicode(content)
    parts = content if isinstance(content, list) else []
    return all(map(_is_part, parts)) and any(part["type"] != "text" or part["text"].strip() for part in parts)


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return False
    return part["type"] != "text" or isinstance(part.get("text"), str) and is_unicode(part["text"])
