"""QAE: the quantile as baseline, by hand, against plain loops, and in a run."""

import math

import pytest
import torch
from lab_runs import without_seconds
from method_runs import PLAIN
from trl.trainer.utils import nanstd

from es_trl.actuators.batch import Scores
from es_trl.actuators.quantile_baseline import QuantileBaselineActuator, advantages_by_baseline, at_quantile
from es_trl.control.base import ActuatorArgs


NAN = math.nan


def advantages(rewards, quantile, scale="group"):
    return at_quantile(advantages_by_baseline(torch.tensor(rewards), scale), quantile).view(len(rewards), -1)


@pytest.mark.parametrize("quantile", [0.1, 0.2, 0.4, 0.41, 0.6, 0.9])
def test_the_gate_of_rewards_0_and_1(quantile):
    """The baseline is 0 where the share of right completions is at most 1 - K, and 1 above."""
    for right in range(6):
        rewards = [1.0] * right + [0.0] * (5 - right)
        baseline = 0.0 if right / 5 <= 1.0 - quantile + 1e-12 else 1.0
        assert advantages([rewards], quantile, "none")[0].tolist() == [reward - baseline for reward in rewards]


def test_numbers_by_hand():
    # standard deviation of 1, 0, 0, 0 with n - 1: 0.5
    assert advantages([[1.0, 0.0, 0.0, 0.0]], 0.4)[0].tolist() == pytest.approx([1 / 0.5001, 0, 0, 0])
    assert advantages([[1.0, 1.0, 1.0, 0.0]], 0.4)[0].tolist() == pytest.approx([0, 0, 0, -1 / 0.5001])
    assert advantages([[0.5, 0.1, 0.9, 0.3]], 0.5, "none")[0].tolist() == pytest.approx([0.2, -0.2, 0.6, 0.0])
    assert advantages([[0.7] * 4], 0.4)[0].tolist() == [0.0] * 4
    # 0.28 x 25 is 7.000000000000001 in floating point, and the 7th reward is meant
    assert advantages([[float(i) for i in range(25)]], 0.28, "none")[0, 6] == 0.0


def paper(rewards, quantile, scale):
    """A = (R - b) / (std + eps) with b = inf{x: F(x) >= K}, prompt by prompt."""
    whole = nanstd(torch.tensor(rewards)).item()
    for group in rewards:
        given = [reward for reward in group if not math.isnan(reward)]
        b = next((x for x in sorted(given) if sum(r <= x for r in given) / len(given) >= quantile - 1e-12), NAN)
        mean = sum(given) / max(len(given), 1)
        std = math.sqrt(sum((r - mean) ** 2 for r in given) / (len(given) - 1)) if len(given) > 1 else 0.0
        divisor = {"group": std + 1e-4, "batch": whole + 1e-4, "none": 1.0}[scale]
        yield [0.0 if math.isnan(reward) else (reward - b) / divisor for reward in group]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("quantile", [0.05, 0.25, 0.4, 0.5, 0.6, 0.75, 0.95])
def test_equals_the_paper(quantile, scale):
    torch.manual_seed(0)
    rewards = torch.randint(0, 4, (40, 8)) / 4.0 - 0.25
    rewards[torch.rand(40, 8) < 0.1] = NAN
    rewards[3], rewards[4, 1:] = NAN, NAN
    for found, expected in zip(
        advantages(rewards.tolist(), quantile, scale), paper(rewards.tolist(), quantile, scale), strict=True
    ):
        assert found.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_rewards_count_with_the_punishment():
    total, task = torch.tensor([1.0, -0.5, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    scores = Scores(torch.zeros(4), total, task, torch.ones(4), 4, True, 0)
    column = QuantileBaselineActuator().columns(scores, ActuatorArgs(scale_rewards="none"))["by_baseline"]
    assert at_quantile(column, 0.4).tolist() == [1.0, -0.5, 0.0, 1.0]


@pytest.mark.parametrize("bounds", [{"low": 0.0}, {"high": 1.0}])
def test_bounds_are_inside_0_and_1(bounds):
    with pytest.raises(ValueError, match="must be a finite number"):
        QuantileBaselineActuator(**bounds)


def test_functions_that_are_normalized_apart_are_refused(lab_trainer):
    with pytest.raises(ValueError, match="`multi_objective_aggregation` must be sum_then_normalize with quantile"):
        lab_trainer(method="qae", multi_objective_aggregation="normalize_then_sum", **PLAIN)


def test_a_run_trains_on_them_and_resumes(lab_trainer):
    trained = []

    def watched(**run):
        trainer = lab_trainer(method="qae", save_strategy="steps", save_steps=6, **PLAIN, **run)
        whole = trainer._actuated_loss

        def loss(model, inputs, *others):
            found = whole(model, inputs, *others)
            trained.append((inputs["by_baseline"], found[1].inputs["advantages"]))
            return found

        trainer._actuated_loss = loss
        return trainer

    trainer = watched()
    trainer.train()
    assert {record["control"] for record in trainer.history.records} == {0.4}
    for column, used in trained:
        assert torch.equal(at_quantile(column, 0.4), used)
    resumed = lab_trainer(method="qae", **PLAIN)
    resumed.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-6")
    assert without_seconds(resumed.history.records) == without_seconds(trainer.history.records)
