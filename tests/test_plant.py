import json
import random

import pytest

from es_trl.control.dynamics import CARRIED, GRID, PlantEstimator


NEW = PlantEstimator()


def answer(estimator, sensitivity, drift, controls, entropy=0.5, noise=0.0, seed=0):
    """Let a plant that follows the model answer `controls`; returns its last entropy."""
    rng = random.Random(seed)
    last = 0.0
    for control in controls:
        estimator.measure(entropy + rng.gauss(0.0, noise), max(noise, 1e-3))
        estimator.act(control)
        effort = control * estimator.entropy
        entropy += sensitivity * ((1.0 - CARRIED) * effort + CARRIED * last) - drift
        last = effort
    return entropy


def test_first_measurement_is_taken_as_it_is():
    estimator = PlantEstimator()
    estimator.measure(0.5, 0.01)
    assert (estimator.entropy, estimator.drift) == pytest.approx((0.5, 0.0))
    assert (estimator.sensitivity, estimator.sensitivity_sd) == (NEW.sensitivity, NEW.sensitivity_sd)
    assert estimator.expected(3) == pytest.approx([0.5] * len(GRID))


def test_the_prior_has_every_size_and_is_mostly_positive():
    assert (NEW.positive, NEW.negative) == pytest.approx((0.95, 0.03))
    assert (GRID[0], GRID[34], GRID[68]) == pytest.approx((-(10**2.5), 0.0, 10**2.5)) and len(GRID) == 69
    weights = dict(zip(GRID.round(6), NEW.state_dict()["weights"], strict=True))
    assert weights[0.1] == weights[0.01] == pytest.approx(weights[10.0] * 10.0 / 0.3)
    assert weights[-1.0] == pytest.approx(weights[1.0] * 0.03 / 0.95)


@pytest.mark.parametrize("sensitivity", [-20.0, -1.0, -0.05, 0.05, 1.0, 20.0])
def test_finds_a_sensitivity_of_any_size_and_sign(sensitivity):
    rng = random.Random(1)
    estimator = PlantEstimator()
    size = 0.05 / abs(sensitivity)  # so that entropy stays where it is
    answer(estimator, sensitivity, 0.002, [rng.choice((-size, 1.2 * size)) for _ in range(60)], noise=0.003)
    assert estimator.sensitivity == pytest.approx(sensitivity, rel=0.3)
    assert (estimator.positive if sensitivity > 0.0 else estimator.negative) > 0.999


def test_the_cautious_control_by_hand():
    """Of two equally likely sensitivities, 1 and 10, at 0.5 nats: (1 + 10) / (1 + 100) / 0.5 per nat of error."""
    estimator = PlantEstimator()
    estimator.measure(0.5, 0.01)
    state = estimator.state_dict()
    weights = [0.5 if abs(size - 1.0) < 1e-9 or abs(size - 10.0) < 1e-9 else 0.0 for size in GRID]
    assert sum(weights) == 1.0
    estimator.load_state_dict({**state, "weights": weights})
    assert estimator.cautious_control(0.6, 1) == pytest.approx(11 / 101 / 0.5 * 0.1)
    assert estimator.gain == pytest.approx(11 / 101 / 0.5)


def test_finds_drift_and_sensitivity():
    rng = random.Random(1)
    estimator = PlantEstimator()
    entropy = answer(estimator, 0.12, 0.004, [rng.choice((-0.3, 0.4)) for _ in range(80)], noise=0.002)
    assert estimator.entropy == pytest.approx(entropy, abs=0.03)
    assert estimator.sensitivity == pytest.approx(0.12, abs=0.02)
    assert estimator.drift == pytest.approx(0.004, abs=0.002)


@pytest.mark.parametrize("seed", range(5))
def test_its_uncertainty_covers_the_truth(seed):
    rng = random.Random(seed)
    estimator = PlantEstimator()
    answer(estimator, 0.15, 0.005, [rng.uniform(-0.5, 0.5) for _ in range(60)], noise=0.01, seed=seed)
    assert abs(estimator.sensitivity - 0.15) < 3.0 * estimator.sensitivity_sd
    assert estimator.sensitivity_sd < 0.1


def test_filters_by_the_noise_of_each_measurement():
    precise, noisy = PlantEstimator(), PlantEstimator()
    for estimator, noise in ((precise, 0.001), (noisy, 0.05)):
        estimator.measure(0.5, 0.01)
        estimator.act(0.0)
        estimator.measure(0.52, noise)
    assert precise.entropy == pytest.approx(0.52, abs=0.002)
    assert noisy.entropy == pytest.approx(0.50, abs=0.01)


def test_one_measurement_far_off_is_doubted_and_a_second_one_believed():
    estimator = PlantEstimator()
    for _ in range(20):
        estimator.measure(0.3, 0.01)
        estimator.act(0.0)
    estimator.measure(0.9, 0.01)
    estimator.act(0.0)
    assert estimator.entropy < 0.32
    for _ in range(3):
        estimator.measure(0.9, 0.01)
        estimator.act(0.0)
    assert estimator.entropy > 0.7


@pytest.mark.parametrize(
    ("dead_time", "expected"), [(1, CARRIED * 0.3), (2, 0.3 + CARRIED * 0.2), (3, 0.3 + 0.2 + CARRIED * 0.1)]
)
def test_pending_by_hand(dead_time, expected):
    estimator = PlantEstimator(dead_time)
    estimator.measure(0.5, 0.01)
    for control in (0.1, 0.2, 0.3):
        estimator.act(control)
    # what was done at an entropy of 0.5 and is not seen yet, the latest control in full
    assert estimator.expected(0) == pytest.approx(0.5 + GRID * 0.5 * expected)


def test_a_new_control_keeps_what_the_old_one_goes_on_doing():
    estimator = PlantEstimator()
    answer(estimator, 0.2, 0.01, [0.3] * 5 + [-0.3] * 5 + [0.1] * 10, noise=0.001)
    trend = estimator.sensitivity * 0.1 * estimator.entropy - estimator.drift
    entropy = estimator.entropy
    estimator.change_control(holds=True)
    assert estimator.entropy == pytest.approx(entropy)
    assert estimator.expected(0) == pytest.approx([entropy] * len(GRID))
    assert -estimator.drift == pytest.approx(trend, rel=0.05)
    assert (estimator.sensitivity, estimator.sensitivity_sd) == (NEW.sensitivity, NEW.sensitivity_sd)


def test_a_control_that_ends_takes_its_effect_along():
    estimator = PlantEstimator()
    answer(estimator, 0.2, 0.01, [0.3] * 5 + [-0.3] * 5 + [0.1] * 10, noise=0.001)
    drift = estimator.drift
    estimator.change_control(holds=False)
    assert estimator.drift == pytest.approx(drift) and estimator.sensitivity == NEW.sensitivity


def test_rescaled_it_says_the_same_in_another_unit():
    plain, scaled = PlantEstimator(), PlantEstimator()
    answer(plain, 0.1, 0.002, [0.2, -0.1, 0.4], noise=0.01)
    answer(scaled, 0.1, 0.002, [0.2, -0.1, 0.4], noise=0.01)
    scaled.rescale(4.0)
    assert (scaled.sensitivity, scaled.sensitivity_sd) == pytest.approx(
        (4 * plain.sensitivity, 4 * plain.sensitivity_sd)
    )
    assert scaled.expected(1) == pytest.approx(plain.expected(1))
    for estimator, control in ((plain, 0.3), (scaled, 0.3 / 4.0)):
        estimator.measure(0.5, 0.01)
        estimator.act(control)
        estimator.measure(0.52, 0.01)
    assert (scaled.entropy, scaled.drift) == pytest.approx((plain.entropy, plain.drift))


def test_state_round_trip():
    whole, restored = PlantEstimator(2), PlantEstimator(2)
    answer(whole, 0.1, 0.0, [0.2, -0.1, 0.4], noise=0.01)
    restored.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for estimator in (whole, restored):
        estimator.measure(0.9, 0.01)
        estimator.act(-0.3)
        estimator.measure(0.9, 0.01)
    assert whole.state_dict() == restored.state_dict()


def test_a_jump_of_the_prompts_teaches_nothing():
    rng = random.Random(1)
    estimator = PlantEstimator()
    entropy = answer(estimator, 0.12, 0.004, [rng.choice((-0.3, 0.4)) for _ in range(80)], noise=0.002)
    sensitivity, sd, drift, before = estimator.sensitivity, estimator.sensitivity_sd, estimator.drift, estimator.entropy
    estimator.rebase(2.0 * before, 0.002)
    assert (estimator.sensitivity, estimator.sensitivity_sd) == (sensitivity, sd)
    assert (estimator.entropy, estimator.drift) == pytest.approx((2.0 * before, 2.0 * drift))
    # the same jump, taken for what the control did, is answered with another sensitivity or drift
    estimator.rebase(before, 0.002)
    for _ in range(2):
        estimator.measure(2.0 * entropy, 0.002)
        estimator.act(0.1)
    assert abs(estimator.drift - drift) > abs(drift) and estimator.sensitivity_sd > 5.0 * sd


def test_rebase_before_anything_is_the_first_measurement():
    one, other = PlantEstimator(), PlantEstimator()
    one.rebase(0.5, 0.01)
    other.measure(0.5, 0.01)
    assert one.state_dict() == other.state_dict()
