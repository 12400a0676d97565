"""The repository that a run pushes to: opened, or refused, before the model loads."""

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
    Open the repository that a run pushes to, or refuse it, and return the fields of `args` to set.

    Every process calls it. `hub_token` is sent but not saved, `hub_private_repo` is true unless it is `False`, and
    `trackio_static_space_id` false unless a Space is named, as transformers would publish the logs in one.
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
            "`trackio_static_space_id` must not be set in a private run, as it names a Space, which Trackio can only "
            "make public: leave it out, or set hub_private_repo: false to publish both"
        )
    url = on_main(args.process_index == 0, lambda: open_repository(args))
    if args.process_index == 0:
        print(f"pushes go to {url}{' (private)' if _is_private(args) else ''}", flush=True)
    return changes


def open_repository(args: GRPOConfig, token: str | None = None) -> str:
    """
    Create the repository of a run unless it exists, with `token` in place of `hub_token`, and return its address.

    One that cannot be pushed to is refused, and so is a public one unless `hub_private_repo` is `False`.
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
            f"push_to_hub is set and {url.repo_id} is there already and public: set hub_private_repo: false to publish "
            "the run, or hub_model_id to another name"
        )
    return str(url)


def _is_private(args: GRPOConfig) -> bool:
    return args.hub_private_repo is not False


@contextlib.contextmanager
def _where_answered() -> Iterator[None]:
    """Ignore that a mirror of the Hub does not know a question: the first push will tell."""
    try:
        yield
    except HfHubHTTPError as error:
        if error.response.status_code != 404 or isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
            raise


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """Raise a ValueError that says what to set where the Hub does not let a run push to `name`."""
    try:
        yield
    except Exception as error:  # from the connection, the Hub, or a parser that reads the page of a proxy
        why = f"push_to_hub is set and {name} cannot be pushed to ({reason(error)})"
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
    return f"check the connection to {HfApi().endpoint}, or set push_to_hub: false and run `hf upload` in the end"


def reason(error: BaseException) -> str:
    """Return why a request to the Hub failed, in one line and without a token."""
    if isinstance(error, HfHubHTTPError):
        said = f", {error.server_message}" if error.server_message else ""
        text = f"HTTP {error.response.status_code} {error.response.reason_phrase}{said}"
    else:
        text = f"{type(error).__name__}: {error}"
    return hide_tokens(" ".join(text.split()))
