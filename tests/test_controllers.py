import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_trl.control.algorithm1 import SignStepController
from es_trl.control.band import BandSignController, DeadBandController
from es_trl.control.double_halve import DoubleHalveController
from es_trl.control.hysteresis import HysteresisController
from es_trl.control.open_loop import FollowController, HoldController, PatternController
from es_trl.control.pid import PIDController
from es_trl.control.self_tuned import SelfTunedPIDController


def begun(controller, initial=0.0, low=-1.0, high=1.0):
    controller.begin(initial, low, high)
    return controller


def test_proportional_by_hand():
    pid = begun(PIDController(kp=2.0, ki=0.0), initial=0.1)
    # 0.1 + 2 * (0.4 - entropy)
    assert [pid.update(0.4, h, 0.0) for h in (0.4, 0.3, 0.5, 0.2)] == pytest.approx([0.1, 0.3, -0.1, 0.5])


def test_integral_by_hand():
    pid = begun(PIDController(kp=0.0, ki=0.5), initial=0.1)
    # errors 0.1, 0.1, -0.2, 0: the integral keeps the sum
    assert [pid.update(0.4, h, 0.0) for h in (0.3, 0.3, 0.6, 0.4)] == pytest.approx([0.15, 0.2, 0.1, 0.1])


def test_derivative_by_hand():
    pid = begun(PIDController(kp=0.0, ki=0.0, kd=2.0))
    # on the measurement: nothing at first, then twice the drop; a step of the target does not kick
    outputs = [pid.update(target, h, 0.0) for target, h in ((0.4, 0.5), (0.4, 0.4), (0.9, 0.4), (0.9, 0.45))]
    assert outputs == pytest.approx([0.0, 0.2, 0.0, -0.1])


def test_feed_forward_by_hand():
    pid = begun(PIDController(kp=0.0, ki=0.0, kff=3.0))
    assert [pid.update(0.4, 0.4, slope) for slope in (0.0, -0.1, 0.0)] == pytest.approx([0.0, -0.3, 0.0])


def test_start_is_bumpless():
    pid = begun(PIDController(kp=5.0, ki=1.0, kd=3.0), initial=0.28)
    assert pid.update(0.4, 0.4, 0.0) == 0.28


@pytest.mark.parametrize("sign", [1, -1])
def test_no_windup_after_a_thousand_saturated_rollouts(sign):
    pid = begun(PIDController(kp=0.5, ki=0.1))
    target, far = (0.9, 0.0) if sign > 0 else (0.0, 0.9)
    for _ in range(1000):
        control = pid.update(target, far, 0.0)
    assert control == sign * 1.0
    # one error of the other sign takes the control off its bound at once
    assert sign * pid.update(target, target + sign * 0.1, 0.0) < 1.0 - 0.04


gains = st.floats(0.0, 10.0)
entropies = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40)


@given(gains, gains, gains, gains, entropies, st.floats(0.0, 3.0))
def test_pid_stays_in_its_bounds(kp, ki, kd, kff, measured, target):
    pid = begun(PIDController(kp, ki, kd, kff), initial=0.2, low=0.1, high=0.4)
    slopes = [0.1, -0.1] * len(measured)
    assert all(0.1 <= pid.update(target, h, slope) <= 0.4 for h, slope in zip(measured, slopes, strict=False))


@given(entropies, entropies, st.booleans())
def test_state_round_trip_in_mid_run(before, after, is_pid):
    def make():
        controller = PIDController(1.0, 0.05, 0.3, 0.2) if is_pid else SignStepController(0.01, window=3, warmup=2)
        return begun(controller, initial=0.28, low=0.1, high=0.4)

    whole, restored = make(), make()
    for h in before:
        whole.update(0.5, h, 0.0)
    restored.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert [whole.update(0.5, h, 0.1) for h in after] == [restored.update(0.5, h, 0.1) for h in after]


def test_sign_step_by_hand():
    step = begun(SignStepController(delta=0.01, window=2, warmup=1), initial=0.28, low=0.25, high=0.30)
    # target 0.4; windows after the warm-up: (.3 .3) up, (.3 .5) equal, (.5 .5) down, ...
    measured = [0.3, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2]
    expected = [0.28, 0.29, 0.29, 0.28, 0.27, 0.26, 0.25, 0.26, 0.27, 0.28]
    assert [step.update(0.4, h) for h in measured] == pytest.approx(expected)


def test_sign_step_stops_at_its_bounds():
    step = begun(SignStepController(delta=0.05, window=1, warmup=0), initial=0.28, low=0.1, high=0.4)
    assert [step.update(1.0, 0.0) for _ in range(4)] == pytest.approx([0.33, 0.38, 0.4, 0.4])
    assert [step.update(0.0, 1.0) for _ in range(8)][-3:] == pytest.approx([0.1, 0.1, 0.1])


def test_sign_step_defaults():
    step = begun(SignStepController(), initial=0.28, low=0.1, high=0.4)
    # the warm-up is as long as the window
    assert [step.update(0.5, 0.1) for _ in range(7)] == pytest.approx([0.28] * 5 + [0.285, 0.29])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PIDController(kp=-1.0), "`kp` must be a finite number >= 0, got -1.0: set 0 or more"),
        (lambda: PIDController(ki=float("nan")), "`ki` must be a finite number >= 0, got nan"),
        (lambda: SignStepController(delta=0.0), "`delta` must be a finite number > 0, got 0.0: set 0.005"),
        (lambda: SignStepController(window=0), "`window` must be a whole number >= 1, got 0"),
        (lambda: SignStepController(warmup=-1), "`warmup` must be a whole number >= 0, got -1"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()


EVERY = [
    SignStepController,
    PIDController,
    SelfTunedPIDController,
    DeadBandController,
    BandSignController,
    DoubleHalveController,
    HysteresisController,
    PatternController,
    HoldController,
    FollowController,
]


@pytest.mark.parametrize("make", EVERY)
def test_a_controller_works_as_it_is_made(make):
    made, again = make(), make()
    assert made.knowledge is None
    controls = [made.update(0.4, entropy) for entropy in (0.3, 0.3, 0.5)]
    again.update(0.9, 0.1)
    again.load_state_dict(json.loads(json.dumps(make().state_dict())))
    assert [again.update(0.4, entropy) for entropy in (0.3, 0.3, 0.5)] == controls
    made.rebase(0.4, 0.9)
    # `begin` makes it new
    made.begin(0.0, -1.0, 1.0)
    new = make()
    new.begin(0.0, -1.0, 1.0)
    assert made.state_dict() == new.state_dict()


def test_without_bounds_the_first_control_is_that_of_the_gains():
    assert PIDController(kp=2.0, ki=0.5).update(0.4, 0.1) == pytest.approx(2.0 * 0.3 + 0.5 * 0.3)
    assert PIDController(kp=1e6, ki=0.0).update(2.0, 0.0) == 2e6
    assert BandSignController().update(0.5, 0.1) == 1.0 and FollowController().update(0.5, 0.1) == 0.5


def test_sign_step_begins_its_window_afresh_where_prompts_change():
    step = begun(SignStepController(delta=0.01, window=2), initial=0.28, low=0.1, high=0.4)
    assert [step.update(0.4, h) for h in (0.3, 0.3, 0.3)] == pytest.approx([0.28, 0.28, 0.29])
    step.rebase(0.4, 0.6)
    # means over what is new: 0.6 and 0.3, then 0.3 and 0.45, then 0.45 and 0.3
    assert [step.update(0.4, h) for h in (0.3, 0.45, 0.3)] == pytest.approx([0.28, 0.29, 0.30])


def test_pid_is_bumpless_where_prompts_change():
    pid = begun(PIDController(kp=2.0, ki=0.5, kd=1.0), initial=0.0, low=-1.0, high=1.0)
    before = pid.update(0.4, 0.3)
    assert before == pytest.approx(2.0 * 0.1 + 0.5 * 0.1)
    integral = 0.5 * 0.1
    pid.rebase(0.4, 0.6)
    # the offset keeps the control at the new error of -0.2, and 0.7 of it is left after a rollout
    offset = before - (2.0 * -0.2 + integral)
    assert pid.update(0.4, 0.6) == pytest.approx(2.0 * -0.2 + integral + 0.5 * -0.2 + 0.7 * offset)
    # a real change of 0.1 is answered in full
    expected = 2.0 * -0.3 + integral + 0.5 * -0.5 + 1.0 * -0.1 + 0.49 * offset
    assert pid.update(0.4, 0.7) == pytest.approx(expected)


def test_a_proportional_controller_comes_back_to_its_target_after_a_switch():
    pid, entropy, offset = begun(PIDController(kp=1.0, ki=0.0), initial=0.0, low=-1.0, high=1.0), 0.3, 0.0
    for rollout in range(40):
        if rollout == 10:
            offset = 0.2
            pid.rebase(0.3, entropy + offset)
        else:
            entropy += 0.3 * pid.update(0.3, entropy + offset)
    assert entropy + offset == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("make", [PIDController, lambda: SignStepController(window=3)])
def test_state_round_trip_after_prompts_changed(make):
    whole, restored = (begun(make(), initial=0.1, low=-0.5, high=0.5) for _ in range(2))
    for entropy in (0.5, 0.45, 0.3):
        whole.update(0.4, entropy)
    whole.rebase(0.4, 0.8)
    restored.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert [whole.update(0.4, h) for h in (0.7, 0.5, 0.2)] == [restored.update(0.4, h) for h in (0.7, 0.5, 0.2)]
