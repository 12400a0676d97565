import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_trl.control.algorithm1 import SignStepController
from es_trl.control.dynamics import CARRIED
from es_trl.control.pid import PIDController
from es_trl.control.self_tuned import SelfTunedPIDController
from es_trl.control.shapes import ConstantSchedule, CosineSchedule, StableAnnealSchedule
from es_trl.lab.simulated import SimulatedPlant


HOLD = ConstantSchedule(0.35)


def begun(initial=0.0, low=-1.0, high=1.0, **changes):
    controller = SelfTunedPIDController(**changes)
    controller.begin(initial, low, high)
    return controller


SIZES = [10 ** (power / 6) for power in range(-18, 16)]  # of the sensitivities, in either direction


def test_first_control_by_hand():
    # 34 sizes share a probability of 0.95 if positive and of 0.03 if negative; 0.02 is left for no effect at all
    odds = [min(0.3 / size, 1.0) for size in SIZES]
    mean = 0.92 * sum(p * size for p, size in zip(odds, SIZES, strict=True)) / sum(odds)
    square = 0.98 * sum(p * size**2 for p, size in zip(odds, SIZES, strict=True)) / sum(odds)
    gain = mean / square / 0.5
    controller = begun()
    assert controller.update(0.49, 0.5, -0.01, 0.01) == pytest.approx(gain * (0.49 - 0.5) + gain * -0.01)
    estimate = {"entropy": 0.5, "drift": 0.0, "sensitivity": 0.5 * mean, "positive": 0.95, "kp": gain, "ki": 0.0}
    found = controller.knowledge.estimate
    assert {**found, "sensitivity_sd": None} == pytest.approx({**estimate, "kff": gain, "sensitivity_sd": None})
    assert not controller.knowledge.acts


def test_start_is_bumpless_and_in_the_unit_of_the_control():
    controller = begun(initial=0.28, low=0.1, high=0.4)
    assert controller.update(0.4, 0.4, 0.0, 0.01) == pytest.approx(0.28)
    scaled, plain = begun(low=-0.02, high=0.02), begun()
    for entropy in (0.5, 0.48, 0.47, 0.43):
        small, large = scaled.update(0.4, entropy, 0.0, 0.01), plain.update(0.4, entropy, 0.0, 0.01)
        assert small == pytest.approx(0.02 * large)


def test_the_law_is_that_of_its_gains():
    """Once the sensitivity is known, the control is that of a PID with these gains."""
    controller = begun()
    run = SimulatedPlant(noise=1e-4, wander=0.0).run(controller, ConstantSchedule(0.4), rollouts=60)
    e, plant = controller.knowledge.estimate, controller._plant
    assert e["sensitivity_sd"] < 0.3 * e["sensitivity"]
    later = CARRIED * plant.sensitivity * plant._efforts[1]  # of the control before this one
    expected = e["kp"] * (0.4 - (e["entropy"] + later)) + e["kff"] * e["drift"]
    assert run.controls[-1] == pytest.approx(expected, abs=0.02)


def test_the_first_controls_are_small():
    controller = begun(initial=0.25, low=0.0, high=0.5)
    controls = [controller.update(2.0, 0.5, 0.0, 0.01) for _ in range(7)]
    steps = [0.005, 0.015, 0.045, 0.135, 0.405, 1.0, 1.0]  # of half the range
    assert controls == pytest.approx([0.25 + 0.25 * step for step in steps])


@pytest.mark.parametrize(("sensitivity", "dead_time"), [(0.2, 1), (2.0, 1), (5.0, 1), (1.0, 3), (1.0, 8)])
def test_an_unknown_plant_is_not_harmed_at_the_start(sensitivity, dead_time):
    """From 0.6 nats to a target of 0.35, never below half of it, however much a unit of control does."""
    plant = SimulatedPlant(initial=0.6, sensitivity=sensitivity, dead_time=dead_time)
    for seed in range(10):
        run = plant.run(SelfTunedPIDController(dead_time), HOLD, rollouts=160, seed=seed)
        assert min(run.entropies) > 0.5 * 0.35 and ratio(run, 110) < 3.0


def test_a_resume_with_wider_bounds_keeps_what_was_learned():
    whole, wider = begun(), begun(low=-3.0, high=3.0)
    SimulatedPlant().run(whole, HOLD, rollouts=40)
    wider.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert wider.knowledge.estimate == pytest.approx(whole.knowledge.estimate)
    assert wider.update(0.35, 0.33, 0.0, 0.01) == pytest.approx(whole.update(0.35, 0.33, 0.0, 0.01))


def test_a_resume_with_another_dead_time_is_refused():
    with pytest.raises(ValueError, match="`dead_time` must be 1, as in the checkpoint, got 2: set dead_time to 1"):
        begun(dead_time=2).load_state_dict(begun().state_dict())


@pytest.mark.parametrize("dead_time", [0, 11, 1.5])
def test_a_dead_time_out_of_range_is_refused(dead_time):
    with pytest.raises(
        ValueError, match=f"`dead_time` must be a whole number from 1 to 10, got {dead_time}: set 1 or more"
    ):
        SelfTunedPIDController(dead_time)


# --- on the simulated plant ------------------------------------------------------------------------------------------


def ratio(run, first, last=None):
    return run.error(first, last) / run.floor(first, last)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    power=st.floats(-1.4, 1.0),
    sign=st.sampled_from([1.0, -1.0]),
    drift=st.floats(0.0, 0.03),
    carried=st.floats(0.0, 0.6),
    dead_time=st.integers(1, 3),
    noise=st.floats(0.004, 0.03),
    target=st.floats(0.15, 0.6),
    seed=st.integers(0, 1000),
)
def test_holds_a_wide_range_of_plants(power, sign, drift, carried, dead_time, noise, target, seed):
    """From 0.04 to 10, of either sign, and no gain is given."""
    sensitivity = sign * 10.0**power
    plant = SimulatedPlant(0.49, sensitivity, drift, carried, dead_time, noise, wander=0.3 * noise)
    run = plant.run(SelfTunedPIDController(dead_time), ConstantSchedule(target), rollouts=160, seed=seed)
    assert all(-1.0 <= control <= 1.0 for control in run.controls)
    assert ratio(run, 80) < 2.2


@pytest.mark.parametrize("speed", [1.0 / 3.0, 1.0, 3.0])
@pytest.mark.parametrize(
    "schedule",
    [HOLD, CosineSchedule(0.45, 0.05), StableAnnealSchedule(0.3, 0.05, 0.25)],
    ids=lambda s: type(s).__name__,
)
def test_beats_algorithm_1_by_half_at_any_speed(schedule, speed):
    """With the learning rate a third of and three times the one that Algorithm 1's step was chosen for."""
    plant = SimulatedPlant(sensitivity=0.16 * speed, drift=0.03 * speed, wander=0.006 * speed**0.5)
    errors = {
        make: sum(plant.run(make(), schedule, seed=seed).error(15) for seed in range(10))
        for make in (SelfTunedPIDController, lambda: SignStepController(delta=0.01))
    }
    own, algorithm_1 = errors.values()
    assert own < 0.5 * algorithm_1


def test_near_the_noise_floor_where_entropy_does_not_wander():
    plant = SimulatedPlant(wander=0.002)
    ratios = [ratio(plant.run(SelfTunedPIDController(), HOLD, seed=seed), 20) for seed in range(20)]
    assert sum(ratios) / len(ratios) < 1.2


def test_follows_an_anneal_without_lag():
    schedule = StableAnnealSchedule(0.3, 0.05, 0.25)
    runs = [
        SimulatedPlant(noise=0.004, wander=0.001).run(SelfTunedPIDController(), schedule, seed=s) for s in range(20)
    ]
    lags = [
        target - entropy for run in runs for target, entropy in zip(run.targets[80:], run.entropies[80:], strict=True)
    ]
    # a rollout's step of the target is 0.01 nats: a loop that chased it would be that much behind
    assert abs(sum(lags) / len(lags)) < 0.005


def test_no_windup():
    """A target out of reach for a hundred rollouts, then one within: the control leaves its bound at once."""
    controller = begun()
    plant = SimulatedPlant(sensitivity=0.05, drift=0.1, wander=0.0)
    run = plant.run(controller, lambda progress: 0.9 if progress < 0.5 else 0.05, rollouts=200)
    assert set(run.controls[40:95]) == {1.0}
    assert max(run.controls[102:110]) < 0.0


def test_knows_when_it_moves_nothing():
    powerless, able = begun(), begun()
    SimulatedPlant(sensitivity=0.0).run(powerless, HOLD, rollouts=40)
    SimulatedPlant().run(able, HOLD, rollouts=40)
    assert able.knowledge.acts and not powerless.knowledge.acts


def test_push_and_strength_are_shares_of_the_entropy():
    controller = begun()
    run = SimulatedPlant(sensitivity=0.5).run(controller, HOLD, rollouts=60)
    plant, known = controller._plant, controller.knowledge
    assert known.push == pytest.approx(plant.sensitivity * run.controls[-1])
    assert known.strength == pytest.approx(2 * plant.quantile(0.023)) and 0.2 < known.strength < 1.0


def test_strength_of_a_reversed_effect():
    controller = begun()
    SimulatedPlant(sensitivity=-0.5).run(controller, HOLD, rollouts=60)
    assert controller.knowledge.push != 0.0 and 0.2 < controller.knowledge.strength < 1.0


def test_single_outliers_do_not_throw_it():
    calm, spiky = [
        SimulatedPlant(outliers=outliers).run(SelfTunedPIDController(), HOLD, rollouts=200, seed=3)
        for outliers in (0.0, 0.02)
    ]
    truth = [abs(entropy - 0.35) for entropy in spiky.entropies[15:]]
    assert max(truth) < 0.06 and max(spiky.measured[15:]) > 0.5
    assert calm.error(15) < 0.02


def test_a_rollout_of_one_prompt_has_no_standard_error():
    controller = begun()
    plant = SimulatedPlant()
    entropy = 0.49
    for _ in range(60):
        control = controller.update(0.35, entropy, 0.0, None)
        entropy *= 1.0 + plant.sensitivity * control
    assert entropy == pytest.approx(0.35, abs=0.01)


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40), st.floats(0.0, 3.0), st.floats(1e-9, 1.0))
def test_any_measurement_keeps_the_control_in_its_bounds(measured, target, noise):
    controller = begun(initial=0.28, low=0.1, high=0.4)
    assert all(0.1 <= controller.update(target, entropy, 0.01, noise) <= 0.4 for entropy in measured)


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=20), st.lists(st.floats(0.01, 2.0), min_size=1, max_size=20))
def test_state_round_trip_in_mid_run(before, after):
    whole, restored = begun(dead_time=2), begun(dead_time=2)
    for entropy in before:
        whole.update(0.5, entropy, 0.0, 0.01)
    restored.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert [whole.update(0.5, h, 0.1, 0.02) for h in after] == [restored.update(0.5, h, 0.1, 0.02) for h in after]


def test_the_simulated_plant_resembles_the_lab():
    """Uncontrolled entropy of the lab's runs of 100 rollouts at rollouts 0, 50 and 99: 0.49, 0.21 and 0.13 nats."""
    run = SimulatedPlant(wander=0.0).run(PIDController(kp=0.0, ki=0.0), HOLD)
    assert [run.entropies[rollout] for rollout in (0, 50, 99)] == pytest.approx([0.49, 0.21, 0.13], abs=0.02)
