"""Removal of access tokens from everything that is written."""

import re
from typing import Any


# Tokens of the Hub. A shorter text that begins with hf_ may be a name.
TOKEN = re.compile(r"\b(?:(?:hf_oauth_|hf_jwt_|api_org_)[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{30,})[\w.-]*")
SECRET_NAME = re.compile(r"(token|key|secret|password)$", re.IGNORECASE)
HIDDEN = "<token>"


class HiddenToken(str):
    """A token that works like any string, but is pickled as `None` and hidden in its `repr`."""

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> tuple[type, tuple]:
        return type(None), ()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> "HiddenToken":
        return self

    __copy__ = __deepcopy__


def hide_tokens(text: str) -> str:
    """Replace everything in a text that looks like a token of the Hub by a placeholder."""
    return TOKEN.sub(HIDDEN, text)


def without_tokens(value: Any) -> Any:
    """Return a recipe without `hub_token`, without `env` variables named like secrets, and with hidden tokens."""
    if isinstance(value, dict):
        hidden = {name: without_tokens(part) for name, part in value.items() if name != "hub_token"}
        if isinstance(env := hidden.get("env"), dict):
            hidden["env"] = {name: part for name, part in env.items() if not SECRET_NAME.search(str(name))}
        return hidden
    if isinstance(value, list):
        return [without_tokens(part) for part in value]
    return hide_tokens(value) if isinstance(value, str) else value


def refuse_tokens(fields: dict[str, Any]) -> None:
    """Raise if a field of `TrainingArguments.to_dict()` holds a token. That method hides fields named `..._token`."""
    for name, value in fields.items():
        if TOKEN.search(str(value)):
            raise ValueError(
                f"`{name}` must not hold an access token, because the configuration is pushed with the model: remove "
                "it, and log in with `hf auth login` or set HF_TOKEN"
            )
