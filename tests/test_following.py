"""Whether a run of the reproduction followed its target: the rule that decides which runs count."""

import sys

import pytest
from launching import ROOT


sys.path[:0] = [str(ROOT / "experiments"), str(ROOT / "benchmarks")]

import arms  # noqa: E402
import claims  # noqa: E402
import following  # noqa: E402


TARGET = [0.3] * 60 + [0.1] * 20


@pytest.mark.parametrize(
    ("last", "follows"),
    [([0.1] * 20, True), ([0.1 + 3.9 * 0.01] * 20, True), ([0.1 + 4.1 * 0.01] * 20, False), ([0.2, *[0.1] * 19], True)],
)
def test_a_run_must_follow_its_target_in_each_phase(last, follows):
    run = {"target": TARGET, "entropy": TARGET[:60] + last, "entropy_se": [0.01] * 80}
    assert following.follows(run) == follows
    # over the whole run, no error is above 4 times the noise
    assert following.error_of(run) < following.MOST * following.noise_of(run)


def test_the_phases_of_a_run():
    run = {"target": TARGET, "entropy": [0.4] * 15 + [0.32] * 45 + [0.13] * 20, "entropy_se": [0.01] * 60 + [0.02] * 20}
    held, annealed = following.phases_of(run)
    assert (held, annealed) == (list(range(15, 60)), list(range(60, 80)))
    assert (following.error_of(run, held), following.noise_of(run, held)) == pytest.approx((0.02, 0.01))
    assert (following.error_of(run, annealed), following.noise_of(run, annealed)) == pytest.approx((0.03, 0.02))
    for target in ([0.3] * 80, [0.3 - 0.001 * step for step in range(80)]):  # no onset, and one before all that counts
        assert following.phases_of({**run, "target": target}) == [list(range(15, 80))]


def test_rollouts_after_a_switch_settle():
    run = {"target": [0.3] * 80, "entropy": [0.3] * 50 + [0.9] * 15 + [0.33] * 15, "entropy_se": [0.01] * 80}
    assert not following.follows(run) and following.follows({**run, "switch": 50})
    assert following.error_of({**run, "switch": 50}) == pytest.approx(0.03 * (15 / 50) ** 0.5)

    assert following.phases_of({**run, "switch": 50}) == [list(range(15, 50)), list(range(65, 80))]


@pytest.mark.parametrize(
    ("arm", "rollouts", "switch"),
    [("quality_stable", 320, 256), ("quality_stable", 72, 57), ("more_anneal", 320, 256), ("stable_anneal", 320, None)],
)
def test_the_rollout_of_a_switch(arm, rollouts, switch):
    assert arms.Model.of("lab").switch_of(arm, rollouts) == switch


def test_a_claim_is_not_measurable_only_if_no_run_of_an_arm_followed():
    effect = claims.Effect(("a", "b"), "e", lambda runs: 0.0)
    claim = claims.Claim("fig2", "A claim.", effect)
    near = {"target": TARGET, "entropy": TARGET, "entropy_se": [0.01] * 80, "failure": None}
    far = {**near, "entropy": [0.5] * 80}
    # the arms have no seed in common that counts, and each has a run that followed
    assert claims.judge(claim, {"a": {0: far, 1: near}, "b": {0: near, 2: near}}).word == claims.NOT_MEASURED
    assert claims.judge(claim, {"a": {0: far, 1: far}, "b": {0: near, 2: near}}).word == claims.NOT_MEASURABLE
