"""Pass@k training: the advantages by hand, against every group of k completions, and in a run."""

import math
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from method_runs import PLAIN
from trl.trainer.utils import nanstd

from es_trl import Curriculum, Stage
from es_trl.__main__ import main as cli
from es_trl.actuators.batch import Scores
from es_trl.actuators.pass_at_k import PassAtKActuator, advantages_by_k
from es_trl.control.base import ActuatorArgs


NAN = math.nan


def all_groups(right, k):
    """The mean over the groups that hold a completion of the group's reward, normalized over all groups."""
    groups = list(combinations(range(len(right)), k))
    rewards = [float(any(right[i] for i in group)) for group in groups]
    mean = sum(rewards) / len(groups)
    std = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / len(groups))
    own = [[r for r, group in zip(rewards, groups, strict=True) if i in group] for i in range(len(right))]
    return [0.0 if std == 0.0 else (sum(each) / len(each) - mean) / std for each in own]


@pytest.mark.parametrize("completions", [2, 3, 5, 7, 8])
def test_equals_the_enumeration_of_all_groups(completions):
    rewards = [[1.0] * right + [-1.0] * (completions - right) for right in range(completions + 1)]
    found = advantages_by_k(torch.tensor(rewards), True).view(completions + 1, completions, completions)
    for own, advantages in zip(rewards, found, strict=True):
        for k in range(1, completions + 1):
            expected = all_groups([reward > 0 for reward in own], k)
            assert advantages[:, k - 1].tolist() == pytest.approx(expected, abs=1e-6), (own, k)
            assert advantages[:, k - 1].sum().item() == pytest.approx(0.0, abs=1e-5)


def test_numbers_by_hand():
    # one of four is right, k = 2: 3 of 6 groups are right, sigma 0.5; a wrong one is in 2 wrong groups of 3
    found = advantages_by_k(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), True)
    assert found[:, 1].tolist() == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    unscaled = advantages_by_k(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), False)
    assert unscaled[:, 1].tolist() == pytest.approx([0.5, -1 / 6, -1 / 6, -1 / 6])
    # three of four are right: every group of 2 has a right one, so that only k = 1 learns
    assert advantages_by_k(torch.tensor([[1.0, 1.0, 1.0, 0.0]]), True)[:, 1:].abs().max() == 0.0


def test_k_of_1_is_grpo():
    """With the standard deviation of the population; TRL's divides by n - 1 in its place, and adds 1e-4."""
    torch.manual_seed(1)
    rewards = (torch.rand(50, 8) < torch.rand(50, 1)).float()
    mean, std = rewards.mean(dim=1, keepdim=True), rewards.std(dim=1, keepdim=True, correction=0)
    grpo = ((rewards - mean) / std).nan_to_num(0.0).flatten()
    found = advantages_by_k(rewards, True)[:, 0]
    assert torch.allclose(found, grpo, atol=1e-5)
    trl = ((rewards - mean) / (nanstd(rewards, dim=1).unsqueeze(1) + 1e-4)).flatten()
    assert torch.allclose(found * math.sqrt(7 / 8), trl, atol=1e-3)


def test_a_completion_without_a_reward_is_in_no_group():
    rewards = torch.tensor([[1.0, NAN, 0.0, 0.0, NAN, 0.0], [NAN] * 6, [NAN, NAN, NAN, NAN, NAN, 1.0]])
    found = advantages_by_k(rewards, True).view(3, 6, 6)
    plain = advantages_by_k(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), True)
    own = found[0, [0, 2, 3, 5]]
    assert torch.equal(own[:, :3], plain[:, :3]) and torch.equal(own[:, 3], own[:, 2])
    assert found[0, [1, 4]].abs().max() == 0.0
    assert torch.equal(found[0, :, 4], found[0, :, 3])  # more than there are count as all
    assert found[1:].abs().max() == 0.0


def test_right_is_judged_without_the_punishment():
    total, task = torch.tensor([0.2, -1.0, -0.5, 1.0]), torch.tensor([1.0, -1.0, 0.5, 1.0])
    scores = Scores(torch.zeros(4), total, task, torch.ones(4), 4, True, 0)
    column = PassAtKActuator(k=1).columns(scores, ActuatorArgs())["by_k"]
    assert (column[:, 0] > 0.0).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entropy_actuator": {"k": 4}}, "`k` of pass_at_k must be below the 4 completions per prompt, got 4, because"),
        ({"scale_rewards": "batch"}, "`scale_rewards` must be group or none with pass_at_k"),
        ({"overlong_cache": 4}, "`overlong_cache` must be 0 with pass_at_k, which knows only right and wrong, got 4"),
        ({"callbacks": [Curriculum([Stage(0.5, num_generations=2)])]}, "stage 1 of the curriculum: `k` of pass_at_k"),
        (
            {"curriculum": [{"start": 0.5, "num_generations": 2}]},
            "the 2 completions per prompt, got 2, .*: set a smaller",
        ),
        (
            {"curriculum": [{"start": 0.5, "overlong_cache": 3}]},
            "stage 1 of the curriculum: `overlong_cache` must be",
        ),
    ],
)
def test_refusals(changes, message, lab_trainer):
    with pytest.raises(ValueError, match=message):
        lab_trainer(**{"method": "pass_at_k", "entropy_actuator": {"k": 2}, **PLAIN, **changes})
    with pytest.raises(ValueError, match="`k` must be a whole number >= 1, got 0"):
        PassAtKActuator(k=0)


def test_plan_refuses_a_stage_too_small(capsys):
    stage = '[{"start": "onset", "num_generations": 2}]'
    method = ["--method", "pass_at_k", "--entropy_actuator", "pass_at_k", "--curriculum", stage]
    assert cli(["plan", "recipes/countdown_es.yaml", *method]) == 2
    assert "stage 1 of the curriculum: `k` of pass_at_k" in capsys.readouterr().err


def test_the_control_is_k():
    actuator, by_k = PassAtKActuator(), advantages_by_k(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), True)
    batch = SimpleNamespace(inputs={"by_k": by_k})
    for control, k in ((1.0, 1), (1.4, 1), (1.6, 2), (3.0, 3), (4.0, 3), (64.0, 3)):
        assert torch.equal(actuator.advantages(batch, actuator.settings(control, ActuatorArgs())), by_k[:, k - 1])
    assert by_k[:, 3].abs().max() == 0.0  # all four make one group


def test_a_run_trains_on_them(lab_trainer):
    trainer = lab_trainer(method="pass_at_k", entropy_actuator={"k": 2}, **PLAIN)
    whole, used = trainer._actuated_loss, []

    def loss(model, inputs, *others):
        found = whole(model, inputs, *others)
        used.append(torch.equal(found[1].inputs["advantages"], inputs["by_k"][:, 1]) and inputs["by_k"].any().item())
        return found

    trainer._actuated_loss = loss
    trainer.train()
    assert any(used) and {record["control"] for record in trainer.history.records} == {2.0}
