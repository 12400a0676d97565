"""What follows the completions' length of a stage: the punishment, the filter, evaluation."""

import pytest
from stage_runs import make

from es_trl.lab import countdown_reward
from es_trl.rewards import SoftOverlongPunishment


def test_overlong_punishment_follows_the_stage(tmp_path):
    stage = {"start": 0.5, "max_completion_length": 16, "overlong_cache": 6}
    trainer = make(tmp_path, overlong_cache=3, curriculum=[stage])
    reward = trainer.reward_funcs[-1]
    assert isinstance(reward, SoftOverlongPunishment) and (reward.cache, reward.max_completion_length) == (3, 12)
    trainer.train()
    assert (reward.cache, reward.max_completion_length) == (6, 16)
    assert "rewards/soft_overlong_punishment/mean" in trainer.state.log_history[0]


def test_a_stage_alone_can_have_the_punishment(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.5, "overlong_cache": 6}], reward_weights=[2.0])
    assert trainer.reward_weights.tolist() == [2.0, 1.0] and trainer.overlong_punishment.cache == 0
    trainer.train()
    assert trainer.overlong_punishment.cache == 6
    assert "overlong_cache 0 -> 6" in trainer.history.records[3]["events"][0]["message"]


def test_a_stage_can_end_the_punishment(tmp_path):
    trainer = make(tmp_path, overlong_cache=8, curriculum=[{"start": 0.5, "overlong_cache": 0}])
    trainer.train()
    assert trainer.overlong_punishment.cache == 0
    means = [line["rewards/soft_overlong_punishment/mean"] for line in trainer.state.log_history[:-1:4]]
    assert all(mean < 0.0 for mean in means[:3]) and means[3:] == [0.0] * 3


def test_a_punishment_of_ones_own_follows_the_length(tmp_path):
    own = SoftOverlongPunishment(6)
    stage = {"start": 0.5, "max_completion_length": 16}
    make(tmp_path, reward=[countdown_reward, own], curriculum=[stage]).train()
    assert (own.cache, own.max_completion_length) == (6, 16)
    with pytest.raises(ValueError, match="would be punished twice: keep one of them"):
        make(tmp_path, reward=[countdown_reward, own], overlong_cache=4, curriculum=[stage])
    with pytest.raises(ValueError, match="SoftOverlongPunishment's cache is 500 and a completion has at most 12"):
        make(tmp_path, reward=[countdown_reward, SoftOverlongPunishment(500)], curriculum=[stage])


def test_evaluation_has_the_sizes_of_the_stage(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.0, "max_completion_length": 16}])
    assert trainer.max_completion_length == 16  # also before training begins


def test_overlong_filtering_follows_the_stage(tmp_path):
    # 3 tokens hold no answer: every completion is truncated and masked, until the stage gives it 12
    stage = {"start": 0.5, "max_completion_length": 12}
    trainer = make(tmp_path, max_completion_length=3, mask_truncated_completions=True, curriculum=[stage], max_steps=16)
    trainer.train()
    assert [record["entropy"] is None for record in trainer.history.records] == [True, True, False, False]
