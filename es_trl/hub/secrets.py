"""Access tokens: what keeps them out of everything that is written."""

import re
from typing import Any


# the Hub's; what begins with hf_ may also be a name
TOKEN = re.compile(r"\b(?:(?:hf_oauth_|hf_jwt_|api_org_)[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{30,})[\w.-]*")
SECRET_NAME = re.compile(r"(token|key|secret|password)$", re.IGNORECASE)
HIDDEN = "<token>"


class HiddenToken(str):
    """A token that can be sent like any string, is pickled as `None`, and does not show in a `repr`."""

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> tuple[type, tuple]:
        return type(None), ()

    def __copy__(self) -> "HiddenToken":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "HiddenToken":
        return self


def hide_tokens(text: str) -> str:
    """The text with a placeholder for whatever looks like a token of the Hub."""
    return TOKEN.sub(HIDDEN, text)


def without_tokens(value: Any) -> Any:
    """
    A recipe's mapping that can be published.

    `hub_token` is left out, and so are the variables of `env` that are named like a secret; what looks like a token is
    hidden wherever it is.
    """
    if isinstance(value, dict):
        hidden = {name: without_tokens(part) for name, part in value.items() if name != "hub_token"}
        if isinstance(env := hidden.get("env"), dict):
            hidden["env"] = {name: part for name, part in env.items() if not SECRET_NAME.search(str(name))}
        return hidden
    if isinstance(value, list):
        return [without_tokens(part) for part in value]
    return hide_tokens(value) if isinstance(value, str) else value


def refuse_tokens(fields: dict[str, Any]) -> None:
    """
    Refuse a configuration that is saved with the model and holds a token.

    Args:
        fields (`dict`):
            As `TrainingArguments.to_dict` gives them, which has placeholders for fields whose names end in `_token`.

    Raises:
        ValueError: where a value looks like a token of the Hub.
    """
    for name, value in fields.items():
        if TOKEN.search(str(value)):
            raise ValueError(
                f"`{name}` holds what looks like an access token, and the configuration is saved and pushed with the "
                "model: take it out, and log in with `hf auth login` or set HF_TOKEN"
            )
