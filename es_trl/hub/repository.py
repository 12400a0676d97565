"""The repository that a run pushes to, which is created and checked before the model loads."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from trl import GRPOConfig

from ..common.processes import on_main
from .secrets import HiddenToken, hide_tokens, refuse_tokens


def prepare_push(args: GRPOConfig) -> dict[str, Any]:
    """
    Open the repository that a run pushes to. Every process must call it.

    Args:
        args (`GRPOConfig`):
            Configuration of the run.

    Returns:
        `dict[str, Any]`: fields of `args` to set. `hub_token` becomes a token that is not saved. `hub_private_repo`
        becomes true unless it is `False`. `trackio_static_space_id` becomes false unless a Space is named, because
        transformers would publish the logs in a Space.

    Raises:
        ValueError: if the run cannot push there, if a private run would become public, or if a field holds a token.
    """
    changes: dict[str, Any] = {"hub_private_repo": _is_private(args)}
    if args.hub_token is not None:
        changes["hub_token"] = HiddenToken(args.hub_token)
    if "trackio" in args.report_to and args.trackio_space_id is None and args.trackio_static_space_id is None:
        changes["trackio_static_space_id"] = False
    if not args.push_to_hub:
        return changes
    refuse_tokens(args.to_dict())
    if _is_private(args) and isinstance(args.trackio_static_space_id, str):
        raise ValueError(
            "`trackio_static_space_id` must not be set in a private run, because Trackio makes only public Spaces: "
            "leave it out, or set hub_private_repo: false to publish both"
        )
    url = on_main(args.process_index == 0, lambda: open_repository(args))
    if args.process_index == 0:
        print(f"pushes go to {url}{' (private)' if _is_private(args) else ''}", flush=True)
    return changes


def open_repository(args: GRPOConfig, token: str | None = None) -> str:
    """
    Create the repository of a run unless it exists.

    Args:
        args (`GRPOConfig`):
            Configuration of the run.
        token (`str`, *optional*):
            Access token to use instead of `args.hub_token`.

    Returns:
        `str`: address of the repository.

    Raises:
        ValueError: if it cannot be pushed to, or if it is public although `hub_private_repo` is not `False`.
    """
    token = args.hub_token if token is None else token
    name = Path(args.output_dir).absolute().name if args.hub_model_id is None else args.hub_model_id
    with refusing(name):
        url = HfApi().create_repo(name, token=token, private=_is_private(args), exist_ok=True)
        with _where_answered():  # `create_repo` accepts an existing repository that the token may not write
            HfApi().auth_check(url.repo_id, token=token, write=True)
        is_private = True
        with _where_answered():
            is_private = HfApi().model_info(url.repo_id, token=token, revision=args.hub_revision).private
    if _is_private(args) and not is_private:
        raise ValueError(
            f"`push_to_hub` is true but {url.repo_id} exists already and is public: set hub_private_repo: false to "
            "publish the run, or hub_model_id to another name"
        )
    return str(url)


def _is_private(args: GRPOConfig) -> bool:
    return args.hub_private_repo is not False


@contextlib.contextmanager
def _where_answered() -> Iterator[None]:
    """Ignore that a mirror of the Hub does not support a request. The first push will show whether it works."""
    try:
        yield
    except HfHubHTTPError as error:
        if error.response.status_code != 404 or isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
            raise


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """Raise a ValueError that says what to set if the Hub does not let a run push to `name`."""
    try:
        yield
    except Exception as error:  # of the connection, the Hub, or the parser of an answer that is a proxy's page
        why = f"`push_to_hub` is true but {name} cannot be pushed to ({reason(error)})"
        raise ValueError(f"{why}: {_advice(error)}") from error


def _advice(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, HFValidationError):
        return "set hub_model_id to a name of the form namespace/name"
    if isinstance(error, RevisionNotFoundError):
        return "create the branch that hub_revision names first, or leave hub_revision out"
    if status == 401:
        return "log in with `hf auth login`, or set HF_TOKEN to a token with write access"
    if 400 <= status < 500:
        return "set hub_model_id to a repository that the token may write, or use the token of its owner"
    return f"check the connection to {HfApi().endpoint}, or set push_to_hub: false and run `hf upload` after the run"


def reason(error: BaseException) -> str:
    """Return the cause of a failed request to the Hub, in one line and without tokens."""
    if isinstance(error, HfHubHTTPError):
        said = f", {error.server_message}" if error.server_message else ""
        text = f"HTTP {error.response.status_code} {error.response.reason_phrase}{said}"
    else:
        text = f"{type(error).__name__}: {error}"
    return hide_tokens(" ".join(text.split()))
