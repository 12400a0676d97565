"""The benchmark of the actuators' authority: what it stores, what it trains on, and what it says."""

import argparse
import sys

import pytest
import torch
from launching import ROOT


sys.path.insert(0, str(ROOT / "benchmarks"))

import authority
import authority_report
import stored_rollout


@pytest.fixture(scope="module")
def subject():
    parser = argparse.ArgumentParser()
    stored_rollout.add_subject(parser)
    return stored_rollout.subject_of(parser.parse_args(["--prompts", "4", "--completions", "4"]))


@pytest.fixture(scope="module")
def rollout(subject):
    return stored_rollout.generate(subject, 0)


def test_a_seed_gives_its_own_prompts_and_the_same_rollout_again(subject, rollout):
    again, other = stored_rollout.generate(subject, 0), stored_rollout.generate(subject, 1)
    assert again == rollout and not set(map(tuple, other.prompts)) & set(map(tuple, rollout.prompts))
    assert len(rollout.completions) == len(rollout.rewards) == 16 and set(rollout.rewards) <= {1.0, -1.0}
    end = subject.tokenizer.eos_token_id
    assert all(end not in ids[:-1] and len(ids) <= subject.longest for ids in rollout.completions)
    assert rollout.advantages.view(-1, 4).sum(1).abs().max() < 1e-5


@torch.no_grad()
def test_what_a_model_says_is_that_of_its_plain_forward_pass(subject, rollout):
    entropies, logps = stored_rollout.said_by(subject.model, rollout)
    expected = []
    for prompt, completion in zip(rollout.prompts, rollout.completions, strict=True):
        found = subject.model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        chosen = found.gather(1, torch.tensor(completion).unsqueeze(1)).squeeze(1)
        expected.append(torch.stack([-(found.exp() * found).sum(-1), chosen]))
    torch.testing.assert_close(torch.stack([entropies, logps]), torch.cat(expected, dim=1), atol=1e-4, rtol=1e-4)


def test_the_trainer_trains_on_the_stored_rollout(subject, rollout):
    entropies, _ = base = stored_rollout.said_by(subject.model, rollout)
    condition, after = authority.Condition(2, 2, 1e-3), {}
    for name in ("nothing", "entropy_bonus -0.3", "entropy_bonus 0.3", "clip_high 0"):
        trainer = authority.trained(subject, rollout, condition, authority.SETTINGS[name])
        (record,) = trainer.history.records
        assert record["entropy"] == pytest.approx(entropies.mean().item(), abs=1e-4)
        assert record["reward"] == pytest.approx(sum(rollout.rewards) / 16) and trainer.state.global_step == 4
        after[name] = authority.measure(rollout, base, trainer)
    assert after["entropy_bonus -0.3"]["after"] < after["nothing"]["after"] < after["entropy_bonus 0.3"]["after"]
    # a bound of 0 stops right tokens as soon as their ratio is above 1
    assert after["clip_high 0"]["clipped_high"] > after["nothing"]["clipped_high"]
    assert {one["before"] for one in after.values()} == {after["nothing"]["before"]}
    assert stored_rollout.said_by(subject.model, rollout)[0].equal(entropies)  # the subject is not trained


def test_the_rollouts_before_change_the_weights_and_the_moments(subject, rollout):
    condition = authority.Condition(2, 1, 1e-3, warm=1)
    later, state = authority.warmed(subject, condition)
    entropies = {
        name: stored_rollout.said_by(each.model, rollout)[0].mean()
        for name, each in {"before": subject, "later": later}.items()
    }
    trainer = authority.trained(later, rollout, condition, authority.SETTINGS["nothing"], state)
    steps = {int(moments["step"]) for moments in trainer.optimizer.state.values()}
    after = stored_rollout.said_by(trainer.model.eval(), rollout)[0].mean()
    assert steps == {4} and len({after.item(), *(value.item() for value in entropies.values())}) == 3
    fresh, none = authority.warmed(subject, authority.Condition(2, 1, 1e-3))
    assert fresh is subject and none is None


def test_no_clip_is_measured_where_every_ratio_is_1():
    points = authority.points_of([1e-6, 1e-5, 1e-4], 3)
    assert len(set(points)) == len(points) and points[0] == (authority.Condition(4, 1, 1e-5), 0, "nothing")
    alone = {name for condition, _, name in points if condition.updates * condition.passes == 1}
    assert "entropy_bonus 0.1" in alone and not any(name.startswith(("clip", "kl")) for name in alone)
    assert {seed for condition, seed, _ in points if condition == points[0][0]} == {0, 1, 2}


def made_up(setting, after, seed=0):
    condition = {"updates": 4, "passes": 1, "learning_rate": 1e-5, "warm": 0}
    shares = {"ratio": 0.1, "clipped_low": 0.0, "clipped_high": 0.0}
    return {
        "subject": "m",
        **condition,
        "seed": seed,
        "setting": setting,
        "before": 1.0,
        "after": after,
        **shares,
    }


def test_effects_by_hand():
    points = [made_up("nothing", 0.8), made_up("nothing", 0.6, seed=1), made_up("clip_high 0", 0.9)]
    points += [made_up("clip_high 0", 0.9, seed=1)]
    points += [made_up(f"entropy_bonus {control}", 0.8 + 2.0 * control) for control in (-0.1, 0.1)]
    keyed = {tuple(point[name] for name in authority_report.KEY): point for point in points}
    subject = authority_report.Subject("m", keyed)
    # 0.1 and 0.3, whose standard deviation is 0.1 * sqrt(2)
    effect = subject.effect("clip_high 0", subject.middle)
    assert (effect.mean, effect.error) == (pytest.approx(0.2), pytest.approx(0.1))
    assert subject.fall("nothing", subject.middle).mean == pytest.approx(-0.3)
    # 2 nats per unit of the bonus: 0.025 moves 1 nat by 5 %
    assert subject.bonus_for(0.05, subject.middle) == pytest.approx(0.025)
    assert subject.effect("clip 1.3", subject.middle) is None
