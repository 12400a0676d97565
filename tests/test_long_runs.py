"""A rollout late in a long run costs what one at its beginning costs."""

import sys

import pytest
from lab_runs import BONUS

from es_trl.tracking.history import History, RolloutRecord


class Watched(list):
    """The records of a run, which may only be appended to."""

    touched = 0

    def __iter__(self):
        Watched.touched += len(self)
        return super().__iter__()

    def __getitem__(self, place):
        Watched.touched += len(range(len(self))[place]) if isinstance(place, slice) else 1
        return super().__getitem__(place)


def lines_of_last_rollout(trainer, monkeypatch, before):
    """The lines of the package that the run's last rollout executes after `before` rollouts, and records touched."""
    begin = History.begin

    def begin_late(self):
        begin(self)
        for rollout in range(before):
            known = {"target": 0.5, "entropy": 0.4, "entropy_se": 0.01, "error": 0.1, "control": 0.5, "saturated": True}
            record = RolloutRecord(rollout, 4 * rollout, actuator="EntropyBonusActuator", **known)
            self.records.append(vars(record))
            self.for_alarms.add(vars(record))
        self.records = Watched(self.records)

    lines = 0

    def watch(frame, event, _):
        nonlocal lines
        if "/es_trl/" not in frame.f_code.co_filename:
            return None
        lines += event == "line"
        return watch

    monkeypatch.setattr(History, "begin", begin_late)
    end, close = trainer._end_rollout, trainer._close_rollout
    for name, method in (("_end_rollout", end), ("_close_rollout", close)):

        def watched(method=method):
            sys.settrace(watch)
            try:
                method()
            finally:
                sys.settrace(None)

        monkeypatch.setattr(trainer, name, watched)
    Watched.touched = 0
    trainer.train()
    monkeypatch.undo()
    assert len(trainer.history.records) == before + 1
    return lines, Watched.touched


@pytest.mark.parametrize("changes", [BONUS, {"method": "es_pid"}])
def test_a_rollout_costs_the_same_after_any_number_of_them(changes, lab_trainer, monkeypatch):
    monkeypatch.setattr("es_trl.trainer.pushing_trainer.complete_card", lambda *_: None)
    runs = [lines_of_last_rollout(lab_trainer(max_steps=4, **changes), monkeypatch, before) for before in (100, 10_000)]
    assert runs[0] == runs[1] and runs[0][0] > 100
