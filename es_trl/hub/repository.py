"""The repository that a run pushes to: opened, or refused, before the model loads."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from trl import GRPOConfig

from ..common.processes import on_main
from .secrets import HiddenToken, hide_tokens, refuse_tokens


def prepare_push(args: GRPOConfig) -> None:
    """
    Open the repository that a run pushes to, before the model loads; every process calls it.

    It is private unless `hub_private_repo` is `False`, and Trackio's logs stay on this machine unless
    `trackio_static_space_id` names a Space: transformers would publish both, and let a failure of the latter end the
    training. The token that `hub_token` holds is used for pushes, and left out of what is saved.

    Args:
        args (`GRPOConfig`):
            The trainer's; changed in place.

    Raises:
        ValueError: on every process, where the token, the namespace, the repository or the connection is not one to
            push with.
    """
    if args.hub_token is not None:
        args.hub_token = HiddenToken(args.hub_token)
    if not args.push_to_hub:
        return
    set_defaults(args)
    refuse_tokens(args.to_dict())
    if args.hub_private_repo and isinstance(args.trackio_static_space_id, str):
        raise ValueError(
            "trackio_static_space_id names a Space, which Trackio can only make public, and the run is private: leave "
            "it out, or set hub_private_repo: false to publish both"
        )
    url = on_main(args.process_index == 0, lambda: open_repository(args))
    if args.process_index == 0:
        print(f"pushes go to {url}{' (private)' if args.hub_private_repo else ''}", flush=True)


def set_defaults(args: GRPOConfig) -> None:
    """Set what a configuration leaves open of repositories and Spaces to what publishes nothing."""
    if args.hub_private_repo is None:
        args.hub_private_repo = True
    if "trackio" in args.report_to and args.trackio_space_id is None and args.trackio_static_space_id is None:
        args.trackio_static_space_id = False


def open_repository(args: GRPOConfig, token: str | None = None) -> str:
    """
    Make sure that a repository is there, can be written, and is not public by surprise.

    Args:
        args (`GRPOConfig`):
            The trainer's.
        token (`str`, *optional*):
            Instead of `hub_token`.

    Returns:
        `str`: the repository's address.

    Raises:
        ValueError: where it cannot be pushed to.
    """
    token = args.hub_token if token is None else token
    name = Path(args.output_dir).absolute().name if args.hub_model_id is None else args.hub_model_id
    with refusing(name):
        url = HfApi().create_repo(name, token=token, private=args.hub_private_repo, exist_ok=True)
        with _where_answered():  # a repository that is there is taken by `create_repo`, whoever may write it
            HfApi().auth_check(url.repo_id, token=token, write=True)
        is_private = True
        with _where_answered():
            is_private = HfApi().model_info(url.repo_id, token=token, revision=args.hub_revision).private
    if args.hub_private_repo and not is_private:
        raise ValueError(
            f"push_to_hub is set and {url.repo_id} is there already and public: set hub_private_repo: false to publish "
            "what the run makes, or hub_model_id to another name"
        )
    return str(url)


@contextlib.contextmanager
def _where_answered() -> Iterator[None]:
    """Let a question pass that a mirror of the Hub does not know: the first push will tell."""
    try:
        yield
    except HfHubHTTPError as error:
        known = (RepositoryNotFoundError, RevisionNotFoundError)
        if error.response.status_code != 404 or isinstance(error, known):
            raise


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """Say what to set where the Hub does not let a run push."""
    try:
        yield
    except Exception as error:  # the connection's, the Hub's, or what the page of a proxy does to a parser
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if isinstance(error, HFValidationError):
            advice = "set hub_model_id to a name of the form namespace/name"
        elif isinstance(error, RevisionNotFoundError):
            advice = "make the branch that hub_revision names first, or leave hub_revision out"
        elif status == 401:
            advice = "log in with `hf auth login`, or set HF_TOKEN to a token with write access"
        elif status is not None and 400 <= status < 500:
            advice = "set hub_model_id to a repository that the token may write, or use the token of its owner"
        else:
            advice = (
                f"check the connection to {HfApi().endpoint}, or set push_to_hub: false and push the finished run with "
                "`hf upload`"
            )
        raise ValueError(f"push_to_hub is set and {name} cannot be pushed to ({reason(error)}): {advice}") from error


def reason(error: BaseException) -> str:
    """Why a request to the Hub failed, in one line and without a token."""
    if isinstance(error, HfHubHTTPError):
        said = f", {error.server_message}" if error.server_message else ""
        text = f"HTTP {error.response.status_code} {error.response.reason_phrase}{said}"
    else:
        text = f"{type(error).__name__}: {error}"
    return hide_tokens(" ".join(text.split()))
