import math

import pytest

from es_trl.control.schedules import CallableSchedule, as_schedule, onset_rollout, phase_at, progress_at
from es_trl.control.shapes import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    StableAnnealSchedule,
)
from es_trl.control.sketch import sketch


PLATEAU = PiecewiseSchedule([(0.0, 0.2), (0.5, 0.4), (0.9, 0.4), (1.0, 0.1)])


@pytest.mark.parametrize(
    ("schedule", "table"),
    [
        (ConstantSchedule(0.4), {0.0: 0.4, 0.3: 0.4, 1.0: 0.4}),
        (LinearSchedule(0.5, 0.1), {0.0: 0.5, 0.25: 0.4, 0.5: 0.3, 1.0: 0.1}),
        (LinearSchedule(0.1, 0.5), {0.0: 0.1, 0.5: 0.3, 1.0: 0.5}),
        # 0.1 + 0.4 * (1 + cos(pi x)) / 2
        (CosineSchedule(0.5, 0.1), {0.0: 0.5, 1 / 3: 0.4, 0.5: 0.3, 2 / 3: 0.2, 1.0: 0.1}),
        # flat until 0.8, then a line over the last fifth
        (StableAnnealSchedule(0.4, 0.0, ratio=0.2), {0.0: 0.4, 0.8: 0.4, 0.85: 0.3, 0.9: 0.2, 0.95: 0.1, 1.0: 0.0}),
        (StableAnnealSchedule(0.4, 0.0, ratio=0.2, shape="cosine"), {0.8: 0.4, 0.9: 0.2, 1.0: 0.0}),
        # a third of the way down a half cosine: 0.4 * (1 + cos(pi / 3)) / 2 = 0.3
        (StableAnnealSchedule(0.4, 0.0, ratio=0.3, shape="cosine"), {0.8: 0.3}),
        (StableAnnealSchedule(0.4, 0.1, ratio=1.0), {0.0: 0.4, 0.5: 0.25, 1.0: 0.1}),
        (StableAnnealSchedule(0.4, 0.4, ratio=0.0), {0.0: 0.4, 1.0: 0.4}),
        (PLATEAU, {0.0: 0.2, 0.25: 0.3, 0.5: 0.4, 0.7: 0.4, 0.95: 0.25, 1.0: 0.1}),
        (CallableSchedule(lambda p: 0.5 - 0.4 * p), {0.0: 0.5, 0.5: 0.3, 1.0: 0.1}),
    ],
)
def test_targets(schedule, table):
    assert {progress: schedule(progress) for progress in table} == pytest.approx(table, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "onset"),
    [
        (ConstantSchedule(0.4), None),
        (LinearSchedule(0.5, 0.1), 0.0),
        (LinearSchedule(0.1, 0.5), None),
        (CosineSchedule(0.5, 0.1), 0.0),
        (StableAnnealSchedule(0.4, 0.05, ratio=0.25), 0.75),
        (StableAnnealSchedule(0.4, 0.4, ratio=0.0), None),
        (StableAnnealSchedule(0.4, 0.4, ratio=0.2), None),
        (PLATEAU, 0.9),
        (PiecewiseSchedule([(0, 0.5), (0.4, 0.5), (0.5, 0.3), (0.9, 0.3), (1, 0.1)]), 0.4),
        (PiecewiseSchedule([(0, 0.1), (1, 0.5)]), None),
        (CallableSchedule(lambda p: 0.4, onset=0.6), 0.6),
    ],
)
def test_onset(schedule, onset):
    assert schedule.onset == onset


def test_ends_are_exact():
    assert [LinearSchedule(0.5, 0.1)(p) for p in (0.0, 1.0)] == [0.5, 0.1]
    assert [PLATEAU(p) for p in (0.0, 0.5, 0.9, 1.0)] == [0.2, 0.4, 0.4, 0.1]
    assert StableAnnealSchedule(0.3, 0.05, ratio=0.2)(1.0) == 0.05
    assert StableAnnealSchedule(0.3, 0.05, ratio=0.3, shape="cosine")(1.0) == 0.05


def test_anneal_phase_begins_at_the_onset():
    schedule = StableAnnealSchedule(0.4, 0.05, ratio=0.25)
    assert [phase_at(schedule, p) for p in (0.0, 0.7499, 0.75, 1.0)] == ["stable", "stable", "anneal", "anneal"]
    assert phase_at(ConstantSchedule(0.4), 1.0) == "stable"


def test_onset_in_rollouts():
    schedule = StableAnnealSchedule(0.4, 0.05, ratio=0.1)
    # of 11 rollouts the tenth has progress 0.9
    assert [onset_rollout(schedule, n) for n in (11, 300)] == [9, 270]
    assert onset_rollout(ConstantSchedule(0.4), 300) is None and onset_rollout(CosineSchedule(0.4, 0.1), 300) == 0
    assert [progress_at(rollout, 5) for rollout in (0, 1, 4, 5)] == [0.0, 0.25, 1.0, 1.0] and progress_at(0, 1) == 0.0


def test_plain_function_becomes_a_schedule():
    schedule = as_schedule(lambda p: 0.3)
    assert (schedule(0.5), schedule.onset, schedule.relative) == (0.3, None, False)
    constant = ConstantSchedule(0.4)
    assert as_schedule(constant) is constant


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantSchedule(-0.1), "target must be a finite number >= 0, got -0.1: set an entropy in nats"),
        (lambda: LinearSchedule(0.4, math.nan), "end must be a finite number >= 0, got nan"),
        (lambda: CosineSchedule(math.inf, 0.1), "start must be a finite number >= 0, got inf"),
        (
            lambda: StableAnnealSchedule(0.4, 0.05, ratio=1.2),
            "`ratio` must be a finite number >= 0 and <= 1, got 1.2: set a share of the run",
        ),
        (
            lambda: StableAnnealSchedule(0.4, 0.05, ratio=-0.1),
            "`ratio` must be a finite number >= 0 and <= 1, got -0.1",
        ),
        (lambda: StableAnnealSchedule(0.1, 0.4), "`end` must be at most `target`, 0.1, got 0.4: set it lower"),
        (lambda: StableAnnealSchedule(0.4, 0.1, shape="cubic"), "`shape` must be `linear` or `cosine`, got 'cubic'"),
        (lambda: PiecewiseSchedule([(0, 0.4)]), "at least two pairs"),
        (lambda: PiecewiseSchedule([(0, 0.4), (0.5, 0.1)]), "must rise from 0 to 1"),
        (lambda: PiecewiseSchedule([(0, 0.4), (0.6, 0.3), (0.6, 0.2), (1, 0.1)]), "must rise from 0 to 1"),
        (
            lambda: PiecewiseSchedule([(0, 0.4), (1, -0.1)]),
            "a target of `points` must be a finite number >= 0, got -0.1",
        ),
        (lambda: PiecewiseSchedule([(0, "a"), (1, 0.1)]), "at least two pairs"),
        (
            lambda: CallableSchedule(lambda p: None)(0.5),
            "value at progress 0.500 must be a finite number >= 0, got None",
        ),
        (
            lambda: CallableSchedule(lambda p: 0.4, onset=1.5),
            "`onset` must be a progress from 0 to 1, or None, got 1.5",
        ),
        (lambda: CallableSchedule(lambda p: -p)(0.5), "value at progress 0.500 must be a finite number >= 0, got -0.5"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_is_named_and_not_addressed():
    assert repr(CallableSchedule(math.sqrt, onset=0.5)) == "CallableSchedule(function=sqrt, onset=0.5, relative=False)"


def test_sketch_of_a_function():
    lines = sketch(lambda progress: 0.4 if progress < 0.5 else 0.1, width=6, height=5).splitlines()
    assert lines == [
        "target entropy, nats",
        " 0.400 |***",
        " 0.300 |",
        " 0.200 |",
        " 0.100 |   ***",
        " 0.000 |",
        "       +------",
        "        progress of the run",
    ]
    with pytest.raises(ValueError, match="value at progress 1.000 must be a finite number >= 0, got -0.5"):
        sketch(lambda progress: 0.5 - progress, width=2)
