"""How the self-tuned controller finds its way where it has the wrong sign, or none."""

import random

import pytest

from es_trl.control.self_tuned import TRIAL, SelfTunedPIDController


NOISE = 0.02


def run(seed, effect, drift, first, bounds=(-1.0, 1.0), initial=0.0, rollouts=200, target=0.5):
    """
    Entropies and controls of a plant.

    `effect` is the change of entropy per rollout and half range, as a share of the entropy; the quarter of it that
    Adam's momentum carries over comes one rollout later.
    """
    rng, controller = random.Random(seed), SelfTunedPIDController()
    controller.begin(initial, *bounds)
    half = (bounds[1] - bounds[0]) / 2.0
    entropies, controls, before = [first], [], 0.0
    for _ in range(rollouts):
        controls.append(controller.update(target, max(entropies[-1] + rng.gauss(0.0, NOISE), 1e-4), 0.0, NOISE))
        effort = entropies[-1] * (controls[-1] - initial) / half
        entropies.append(max(entropies[-1] + effect * (0.75 * effort + 0.25 * before) - drift, 0.005))
        before = effort
    return entropies, controls, controller


def error(entropies):
    """The root mean square of the second half, as a multiple of the noise."""
    last = entropies[len(entropies) // 2 :]
    return (sum((0.5 - entropy) ** 2 for entropy in last) / len(last)) ** 0.5 / NOISE


@pytest.mark.parametrize("seed", [11, 12, 13, 14, 15])
def test_a_weak_effect_that_holds_the_target_is_not_reversed(seed):
    """Entropy is on target, and noise alone sends the control from bound to bound: nothing is wrong with its sign."""
    entropies, controls, controller = run(seed, 0.01, drift=0.0015, first=0.6, rollouts=300)
    assert {-1.0, 1.0} <= set(controls) and error(entropies) < 1.0
    assert controller.state_dict()["patience"] == TRIAL  # each trial doubles it


@pytest.mark.parametrize(("bounds", "initial"), [((0.01, 0.28), 0.28), ((-1.0, 0.0), 0.0), ((0.0, 3.0), 0.0)])
@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_begins_at_a_bound_tries_the_only_direction_that_it_has(bounds, initial, seed):
    """The effect has the opposite sign, and entropy leaves its target: downwards at an upper bound, or upwards."""
    up = initial == bounds[1]
    entropies, _, _ = run(seed, -0.2, 0.01 if up else -0.01, 0.45 if up else 0.55, bounds, initial)
    assert error(entropies) < 1.0 and min(entropies) > 0.1 and max(entropies) < 0.95


@pytest.mark.parametrize("drift", [0.0, 0.002])
def test_at_its_first_bound_the_control_waits_for_entropy_that_does_not_leave_its_target(drift):
    """Entropy is too high, and a bonus that cannot be negative would only raise it."""
    for seed in range(4):
        _, controls, _ = run(seed, 0.5, drift, 0.8, (0.0, 1.0), rollouts=100)
        assert controls == [0.0] * 100


def test_a_control_near_zero_does_not_stay_there():
    """On the lab these rollouts left the wrong sign, and then a control of 0 with entropy off its target."""
    start = [0.493, 0.447, 0.439, 0.401, 0.369, 0.336, 0.267, 0.225, 0.148, 0.147, 0.159, 0.126, 0.146, 0.134]
    rng, controller = random.Random(0), SelfTunedPIDController()
    controller.begin(0.0, -1.0, 1.0)
    controls = [controller.update(0.1, entropy, 0.0, 0.01) for entropy in start]
    entropies, before = [0.14], 0.14 * controls[-1]
    for _ in range(60):
        control = controller.update(0.1, entropies[-1] + rng.gauss(0.0, 0.01), 0.0, 0.01)
        effort = entropies[-1] * control
        entropies.append(entropies[-1] + 0.6 * (0.75 * effort + 0.25 * before))
        before = effort
    assert abs(sum(entropies[-20:]) / 20 - 0.1) < 0.01
