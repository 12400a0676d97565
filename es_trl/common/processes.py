"""Work that the main process does for all processes of a run."""

from collections.abc import Callable
from typing import TypeVar

from accelerate.utils import broadcast_object_list

from .writing import SaveError


_Result = TypeVar("_Result")


def on_main(is_main: bool, do: Callable[[], _Result]) -> _Result:
    """
    Call a function on the main process only.

    Every process returns its result. If it raises a `ValueError` or a `SaveError`, every process raises that error.
    """
    outcome: list[_Result | Exception | None] = [None, None]
    if is_main:
        try:
            outcome = [do(), None]
        except (ValueError, SaveError) as error:
            outcome = [None, error]
    broadcast_object_list(outcome)
    result, refusal = outcome
    if refusal is not None:
        raise refusal
    return result
