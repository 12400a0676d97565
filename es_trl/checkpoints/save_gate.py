"""The moments at which a checkpoint can be written: nothing may have changed since the end of the last update."""

from contextlib import AbstractContextManager

from ..common.temporarily import temporarily


class SaveGate:
    """
    A gate that is open from the end of an update to the first micro-batch of the next one.

    Args:
        update (`int`, *optional*, defaults to `0`):
            Updates so far. A resumed run begins with those of its checkpoint, which counts as saved.
        micro_step (`int`, *optional*, defaults to `0`):
            Micro-batches so far.
    """

    def __init__(self, update: int = 0, micro_step: int = 0) -> None:
        self._update, self._micro_step = update, micro_step  # values at the end of the last update
        self._saved_update = update if update > 0 else None
        self._is_due = self._is_evaluating = False
        # Whether an update has ended since the epoch began. Before that a resume cannot be exact, because the data
        # loader has already drawn from the random state.
        self._has_ended_one = update > 0

    @property
    def is_due(self) -> bool:
        """Whether a save was requested and has not been made yet."""
        return self._is_due

    def begin_epoch(self) -> None:
        """Close the gate until the next update has ended."""
        self._has_ended_one = False

    def end_update(self, update: int, micro_step: int) -> None:
        """Record the end of an update. A second call for the same update changes nothing."""
        if update != self._update:
            self._update, self._micro_step, self._has_ended_one = update, micro_step, True

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context in which the gate is closed, for an evaluation."""
        return temporarily(self, _is_evaluating=True)

    def is_open(self, micro_step: int, rollout_has_begun: bool) -> bool:
        """Return whether a checkpoint can be written. A new rollout without a micro-batch also closes the gate."""
        counts = micro_step == self._micro_step and self._has_ended_one
        return counts and not rollout_has_begun and not self._is_evaluating

    def ask(self) -> None:
        """Request a save at the end of the update, because none is possible now."""
        self._is_due = True

    def answer(self) -> bool:
        """Return whether a save is due. The caller makes it now, so it is no longer due afterwards."""
        due, self._is_due = self._is_due, False
        return due

    def is_saved(self, update: int) -> bool:
        """Return whether the checkpoint of an update has been written."""
        return update == self._saved_update

    def saved(self, update: int) -> None:
        """Record that the checkpoint of an update has been written."""
        self._saved_update = update
