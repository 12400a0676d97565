"""The patterns of FlexEC against their published formulas: open loops of the control, and a loop with a hysteresis."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensors import batch_of

from es_trl import EntropyLoop, HysteresisController, LinearSchedule, PatternController
from es_trl.actuators.clip import ClipHighActuator
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.flex_clip import FlexClipActuator
from es_trl.control.base import ActuatorArgs


SEVERAL = ActuatorArgs(steps_per_generation=4)


def run(controller, actuator, entropies, schedule=None):
    loop = EntropyLoop(schedule, controller, actuator)
    loop.begin(SEVERAL)
    return [loop.tick(rollout, len(entropies), entropy).control for rollout, entropy in enumerate(entropies)]


@pytest.mark.parametrize("entropy", [0.0, 0.5, 3.0])
def test_patterns_by_hand_whatever_entropy_does(entropy):
    entropies = [entropy] * 9
    increase = run(PatternController(), FlexClipActuator(), entropies)
    assert increase == [1.0, 0.75, 0.5, 0.25, 0.0, -0.75, -0.5, -0.25, 0.0]
    decrease = run(PatternController("decrease_increase_decrease"), FlexClipActuator(), entropies)
    assert decrease == [0.0, 0.25, 0.5, 0.75, 1.0, -0.75, -0.5, -0.25, 0.0]


@pytest.mark.parametrize(
    ("actuator", "expected"),
    [
        (ClipHighActuator(), [0.4, 0.3, 0.2, 0.15, 0.2]),  # begins at 0.2, in bounds of 0.1 and 0.4
        (EntropyBonusActuator(-0.1, 0.3), [0.3, 0.15, 0.0, -0.05, 0.0]),
        (EntropyBonusActuator(0.0, 0.3), [0.3, 0.15, 0.0, 0.0, 0.0]),  # no room below
    ],
)
def test_a_pattern_fills_the_bounds_of_any_actuator(actuator, expected):
    assert run(PatternController(), actuator, [0.4] * 5) == pytest.approx(expected)


def published(shape, k, steps, std, upper, lower):
    """The pair of offsets at step k, with lambda from 1 to -1 as in the authors' text."""
    lam = 1.0 - 2.0 * k / steps
    if shape == "increase_decrease":
        return (std, lam * upper + (1 - lam) * std) if k <= steps / 2 else ((1 + lam) * lower - lam * std, std)
    return (std, lam * std + (1 - lam) * upper) if k <= steps / 2 else ((1 + lam) * lower - lam * std, upper)


@pytest.mark.parametrize("shape", ["increase_decrease", "decrease_increase_decrease"])
def test_the_offsets_are_those_of_the_authors_schedules(shape):
    batch = replace(batch_of([1.0]), clip=(0.2, 0.2))  # probabilities of 1: 0.25 above and 0.17 below
    actuator = FlexClipActuator(keeps_upper=shape.startswith("decrease"))
    controls = run(PatternController(shape), actuator, [0.4] * 11)
    for k, control in enumerate(controls[:-1]):  # at the very end the control is 0, and both offsets are configured
        own = [float(torch.as_tensor(each).max()) for each in actuator.clip(batch, {"flex_clip": control})]
        assert own == pytest.approx(published(shape, k, 10, std=0.2, upper=0.25, lower=0.17))


def oscillation(entropies):
    """OD in the authors' words, with the state 1 (raise), 0 (lower) or None (not yet known)."""
    first, steps, state, states = entropies[0], max(len(entropies) - 1, 1), None, []
    floor = 0.2 * first
    for k, entropy in enumerate(entropies):
        ceiling = floor + (first - floor) * (1.0 - k / steps)
        state = 1 if entropy <= floor else 0 if entropy > ceiling else state
        states.append(0.0 if state is None else 1.0 if state else -1.0)
    return states


OD = LinearSchedule(1.0, 0.2, relative=True)


def test_the_oscillation_by_hand():
    # the floor is 0.2; the ceilings are 1.0, 0.8, 0.6, 0.4 and 0.2
    entropies = [1.0, 0.7, 0.2, 0.3, 0.3]
    assert run(HysteresisController(), FlexClipActuator(), entropies, OD) == [0.0, 0.0, 1.0, 1.0, -1.0]


@given(st.lists(st.integers(0, 32).map(lambda n: n / 16), min_size=2, max_size=40).filter(lambda h: h[0] > 0.0))
def test_the_oscillation_is_that_of_the_authors(entropies):
    # multiples of 1/16 are far enough from ceilings, except where they are exactly equal
    found = run(HysteresisController(), FlexClipActuator(), entropies, OD)
    expected = oscillation(entropies)
    steps = len(entropies) - 1
    near = [abs(h - entropies[0] * (1.0 - 0.8 * k / steps)) < 1e-9 or abs(h - 0.2 * entropies[0]) < 1e-9
            for k, h in enumerate(entropies)]  # fmt: skip
    last = near.index(True, 1) if True in near[1:] else len(near)
    assert found[:last] == expected[:last]


def test_the_oscillation_goes_on_after_a_resume_and_another_actuator():
    whole, resumed = HysteresisController(), HysteresisController()
    for target, entropy in ((1.0, 1.0), (0.8, 0.2)):
        whole.update(target, entropy)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert [resumed.update(0.6, 0.5), resumed.update(0.4, 0.5), resumed.update(0.3, 0.21)] == [1.0, -1.0, -1.0]
    whole.take_over(0.0, -0.5, 0.5, holds=True)
    assert whole.update(0.4, 0.15) == 0.5 and whole.update(0.3, 0.31) == -0.5  # the floor is still 0.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PatternController("oscillate"), "`shape` must be `increase_decrease` or `decrease_increase_decrease`"),
        (lambda: HysteresisController(1.5), "`floor` must be a finite number >= 0 and <= 1, got 1.5: set a share"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
