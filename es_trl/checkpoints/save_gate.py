"""When a checkpoint can be written: all that it holds is as it was at the end of the last update."""

from contextlib import AbstractContextManager

from ..common.temporarily import temporarily


class SaveGate:
    """
    Open at the end of an update, and closed from the first micro-batch of the next one on.

    A run that was resumed has made updates and micro-batches already, and is taken for saved.
    """

    def __init__(self, update: int = 0, micro_step: int = 0) -> None:
        self._update, self._micro_step = update, micro_step  # at the end of the last update
        self._saved_update = update if update > 0 else None
        self._is_due = self._is_evaluating = False
        # not before the first update of a pass over the data: the loader has drawn from the random state by then,
        # which no resume could repeat
        self._has_ended_one = update > 0

    @property
    def is_due(self) -> bool:
        """Whether a save was asked for that has not been made."""
        return self._is_due

    def begin_epoch(self) -> None:
        """Close until the next update has ended."""
        self._has_ended_one = False

    def end_update(self, update: int, micro_step: int) -> None:
        """Take note of an update that has ended; called again for the same one it changes nothing."""
        if update != self._update:
            self._update, self._micro_step, self._has_ended_one = update, micro_step, True

    def evaluating(self) -> AbstractContextManager[None]:
        """Close for as long as an evaluation runs."""
        return temporarily(self, _is_evaluating=True)

    def is_open(self, micro_step: int, rollout_has_begun: bool) -> bool:
        """Return whether a checkpoint can be written; `rollout_has_begun` for one without a micro-batch yet."""
        counts = micro_step == self._micro_step and self._has_ended_one
        return counts and not rollout_has_begun and not self._is_evaluating

    def ask(self) -> None:
        """Ask for a save at the end of the update, as none can be made now."""
        self._is_due = True

    def answer(self) -> bool:
        """Return whether a save is due, which is made now."""
        due, self._is_due = self._is_due, False
        return due

    def is_saved(self, update: int) -> bool:
        """Return whether the checkpoint of an update has been written."""
        return update == self._saved_update

    def saved(self, update: int) -> None:
        """Take note of a checkpoint that has been written."""
        self._saved_update = update
