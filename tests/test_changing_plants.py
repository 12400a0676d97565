"""The self-tuned controller on plants that change during a run, or that answer out of proportion."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_trl.control.self_tuned import SelfTunedPIDController
from es_trl.control.shapes import ConstantSchedule
from es_trl.lab.simulated import SimulatedPlant


HOLD = ConstantSchedule(0.35)


def begun(dead_time=1):
    controller = SelfTunedPIDController(dead_time)
    controller.begin(0.0, -1.0, 1.0)
    return controller


def ratio(run, first, last=None):
    return run.error(first, last) / run.floor(first, last)


@pytest.mark.parametrize("dead_time", [1, 3])
def test_a_plant_that_answers_out_of_proportion_is_noticed_in_time(dead_time):
    """A control of 0.01 does nothing that is seen, and one of 1 would move entropy by 150 % per rollout."""
    for seed in range(5):
        rng, controller, controls = random.Random(seed), begun(dead_time=dead_time), [0.0] * dead_time
        entropies = [0.6]
        for _ in range(150):
            controls.append(controller.update(0.3, max(entropies[-1] + rng.gauss(0.0, 0.01), 1e-3), 0.0, 0.01))
            felt = controls[-dead_time]
            entropies.append(entropies[-1] * (1.0 + 0.15 * felt * (1.0 + 9.0 * abs(felt))) - 0.005)
        assert min(entropies) > 0.15 and entropies[-1] == pytest.approx(0.3, abs=0.04)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    power=st.floats(-0.8, 1.0),
    factor=st.sampled_from([-1.0, -5.0, -0.2, 5.0, 20.0, 0.2]),
    sign=st.sampled_from([1.0, -1.0]),
    when=st.integers(40, 100),
    seed=st.integers(0, 1000),
)
def test_follows_a_sensitivity_that_changes_its_size_or_its_sign(power, factor, sign, when, seed):
    before = sign * 10.0**power
    after = min(max(factor * before, -20.0), 20.0)
    plant = SimulatedPlant(sensitivity=lambda rollout: before if rollout < when else after, drift=0.01)
    controller = begun()
    run = plant.run(controller, HOLD, rollouts=200, seed=seed)
    assert ratio(run, when - 15, when) < 2.5 and ratio(run, when + 40) < 2.5
    assert max(run.entropies[when:]) < 1.2  # entropy does not run away meanwhile
    known = controller._plant
    assert (known.positive if after > 0.0 else known.negative) > 0.9


@pytest.mark.parametrize("after", [0.5, 0.05, -0.16], ids=["five times", "half", "reversed"])
def test_finds_a_sensitivity_that_has_changed(after):
    plant = SimulatedPlant(sensitivity=lambda rollout: 0.1 if rollout < 100 else after, drift=0.01)
    runs = [plant.run(SelfTunedPIDController(), HOLD, rollouts=260, seed=seed) for seed in range(10)]
    assert max(ratio(run, 50, 100) for run in runs) < 2.0
    assert max(ratio(run, 200) for run in runs) < 2.5


def test_recovers_when_authority_comes_back():
    plant = SimulatedPlant(sensitivity=lambda rollout: 0.0 if 50 <= rollout < 90 else 0.16)
    for seed in range(10):
        run = plant.run(SelfTunedPIDController(), HOLD, rollouts=160, seed=seed)
        assert run.error(80, 90) > 3.0 * run.error(120)  # it was lost
        assert ratio(run, 120) < 2.0


@pytest.mark.parametrize("jump", [-0.15, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_a_jump_of_the_prompts_is_met_with_care(jump, seed):
    """The plant's entropy reads higher from rollout 40 on: other prompts, the same policy."""
    plant, rng = SimulatedPlant(noise=0.0, wander=0.0), random.Random(seed)
    controller = begun()
    entropy, felt, controls = plant.initial, 0.0, []
    offset = 0.0
    for rollout in range(80):
        measured = entropy + offset + rng.gauss(0.0, 0.01)
        if rollout == 40:
            offset = jump
            measured += jump
            now = controller.knowledge.estimate
            sensitivity = now["sensitivity"] / now["entropy"]
            found = controller.rebase(0.35, measured, 0.01)
            controls.append(controls[-1] if found is None else found)
            now = controller.knowledge.estimate
            assert now["sensitivity"] / now["entropy"] == pytest.approx(sensitivity)
        else:
            controls.append(controller.update(0.35, measured, 0.0, 0.01))
        both = (1.0 - plant.carried) * controls[-1] + plant.carried * felt
        felt = controls[-1]
        entropy += plant.sensitivity * entropy * both - plant.drift * entropy**1.5
    before, held = controls[39:41]
    # too little entropy keeps the control, too much takes it back to its start and not past it
    assert held == before if jump < 0.0 else held == 0.0 < before
    for control, limit in zip(controls[41:44], (0.05, 0.15, 0.45), strict=True):
        assert min(held - limit, 0.0) - 1e-9 <= control <= max(held + limit, 0.0) + 1e-9
    assert abs(entropy + offset - 0.35) < 0.04  # and the error is taken out in the end


@pytest.mark.parametrize("seed", range(5))
def test_prompts_that_answer_the_control_far_more_strongly(seed):
    """From rollout 60 on entropy is three times as high, controls move it eight times as far, and nothing lowers it."""
    rng, controller, entropies, control = random.Random(seed), begun(), [0.3], 0.0
    for rollout in range(100):
        switched, measured = rollout == 60, entropies[-1] * (3.0 if rollout == 60 else 1.0)
        entropies[-1] = measured
        measured += rng.gauss(0.0, 0.01)
        before, decide = control, controller.rebase if switched else controller.update
        found = decide(0.3, measured, noise=0.01)
        control = before if found is None else found
        assert not switched or (before > 0.1 and control == 0.0)
        rate = 0.2 * control - 0.03 if rollout < 60 else 1.6 * control
        entropies.append(entropies[-1] * (1.0 + max(rate, -0.7)))
    assert max(entropies[60:]) <= entropies[60] + 0.01 and abs(entropies[-1] - 0.3) < 0.03


@pytest.mark.parametrize(("dead_time", "left"), [(1, 0.0), (4, 0.75)])
def test_only_an_error_beyond_its_noise_takes_control_back(dead_time, left):
    def held():
        made = SelfTunedPIDController(dead_time)
        made.begin(0.0, -1.0, 1.0)
        return made, [made.update(0.4, 0.3, 0.0, 0.01) for _ in range(8)][-1]

    (one, _), (other, control) = held(), held()
    assert control > 0.01 and one.rebase(0.4, 0.419, 0.01) is None
    assert other.rebase(0.4, 0.6, 0.01) == pytest.approx(left * control)


def test_control_that_comes_back_to_an_actuator_has_no_way_open_to_where_it_was_left():
    made, entropy, lower = begun(), 0.8, 0.5
    made.update(0.4, entropy, 0.0, 0.01)
    made.take_over(0.5, 0.0, 0.5, holds=False)  # the bonus was left at its bound
    for _ in range(12):
        lower = made.update(0.4, entropy, 0.0, 0.01)
        entropy *= 1.0 + 1.2 * (lower - 0.5) + 0.05
    assert lower < 0.48
    restored = SelfTunedPIDController()
    restored.begin(0.5, 0.0, 0.5)
    restored.load_state_dict(json.loads(json.dumps(made.state_dict())))
    for one in (made, restored):
        assert one.rebase(0.4, 0.2, 0.01) is None
        assert one.update(0.4, 0.2, 0.0, 0.01) <= lower + 0.05 * 0.25 + 1e-9


def test_a_restored_state_is_the_saved_one_to_the_last_bit():
    rng, restored = random.Random(0), SelfTunedPIDController()
    restored.begin(0.3, -0.7, 1.9)
    restored.update(0.4, 0.3, 0.0, 0.01)
    for _ in range(500):
        saved = {**restored.state_dict(), "part": (rng.uniform(-0.7, 1.9) - 0.3) / 1.3}
        restored.load_state_dict(json.loads(json.dumps(saved)))
        assert restored.state_dict() == saved


def test_state_round_trip_after_a_jump():
    whole, restored = begun(), begun()
    for entropy in (0.5, 0.47, 0.44, 0.42):
        whole.update(0.35, entropy, 0.0, 0.01)
    whole.rebase(0.35, 0.6, 0.01)
    restored.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for entropy in (0.6, 0.55, 0.5):
        assert whole.update(0.35, entropy, 0.0, 0.01) == restored.update(0.35, entropy, 0.0, 0.01)


def answered(effect, rollouts=120, seed=0, low=0.01, high=4.0):
    """Entropies, nats, and the controller of a clip at 0.28 whose `effect` is a share of the entropy per rollout."""
    rng, controller, entropies = random.Random(seed), SelfTunedPIDController(), [0.49]
    controller.begin(0.28, low, high)
    for _ in range(rollouts):
        control = controller.update(0.4, max(entropies[-1] + rng.gauss(0.0, 0.012), 1e-3), 0.0, 0.012)
        entropies.append(max(entropies[-1] * (1.0 + effect(control)) - 0.04 * entropies[-1] ** 1.5, 1e-3))
    return entropies, controller


@pytest.mark.parametrize("size", [0.06, 0.15])
@pytest.mark.parametrize("seed", range(4))
def test_an_effect_that_only_one_side_has_is_found_from_the_other_bound(size, seed):
    """A wider clip does nothing here and a narrower one raises entropy: first the control goes the wrong way."""
    entropies, controller = answered(lambda control: size * max(0.28 - control, 0.0) / 0.27, seed=seed)
    assert sum(entropies[60:]) / 60 == pytest.approx(0.4, abs=0.02)


def test_where_no_control_helps_none_is_certain():
    entropies, controller = answered(lambda control: 0.0)
    assert entropies[-1] < 0.2 and not controller.knowledge.acts


@pytest.mark.parametrize("seed", range(10))
def test_a_weak_effect_of_the_usual_sign_is_not_given_up(seed):
    """At its bound the control moves entropy by 3 % per rollout: it takes time, and is never reversed for long."""
    run = SimulatedPlant(initial=0.6, sensitivity=0.03).run(begun(), ConstantSchedule(0.3), rollouts=160, seed=seed)
    assert ratio(run, 40) < 2.2
