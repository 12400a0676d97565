"""What follows the completions' length of a stage: the punishment, the filter, evaluation."""

import pytest
from stage_runs import make
from trl.rewards import get_soft_overlong_punishment

from es_trl.lab import countdown_reward


def sizes(punishment):
    """The cache and the longest completion of TRL's punishment, read off its values: 0 up to their difference."""
    values = punishment(completion_ids=[[0] * length for length in range(40)])
    longest = values.index(-1.0) if -1.0 in values else None
    free = max(length for length, value in enumerate(values) if value == 0.0)
    return longest - free, longest


def test_overlong_punishment_follows_the_stage(tmp_path):
    stage = {"start": 0.5, "max_completion_length": 16, "overlong_cache": 6}
    trainer = make(tmp_path, overlong_cache=3, curriculum=[stage])
    assert sizes(trainer.reward_funcs[-1]) == (3, 12)
    trainer.train()
    assert sizes(trainer.reward_funcs[-1]) == (6, 16)
    assert "rewards/soft_overlong_punishment_reward/mean" in trainer.state.log_history[0]


def test_a_stage_alone_can_have_the_punishment(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.5, "overlong_cache": 6}], reward_weights=[2.0])
    assert trainer.reward_weights.tolist() == [2.0, 1.0]
    assert trainer.reward_funcs[-1](completion_ids=[[0] * 12]) == [0.0]
    trainer.train()
    assert sizes(trainer.reward_funcs[-1]) == (6, 12)
    assert "overlong_cache 0 -> 6" in trainer.history.records[3]["events"][0]["message"]


def test_a_stage_can_end_the_punishment(tmp_path):
    trainer = make(tmp_path, overlong_cache=8, curriculum=[{"start": 0.5, "overlong_cache": 0}])
    trainer.train()
    assert trainer.reward_funcs[-1](completion_ids=[[0] * 12]) == [0.0]
    means = [line["rewards/soft_overlong_punishment_reward/mean"] for line in trainer.state.log_history[:-1:4]]
    assert all(mean < 0.0 for mean in means[:3]) and means[3:] == [0.0] * 3


def test_two_punishments_are_refused(tmp_path):
    own = get_soft_overlong_punishment(12, 6)
    make(tmp_path, reward=[countdown_reward, own], curriculum=[{"start": 0.5, "max_completion_length": 16}])
    with pytest.raises(ValueError, match="which would act twice: keep only one of them"):
        make(tmp_path, reward=[countdown_reward, own], curriculum=[{"start": 0.5, "overlong_cache": 4}])


def test_evaluation_has_the_sizes_of_the_stage(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.0, "max_completion_length": 16}])
    assert trainer.max_completion_length == 16  # also before training begins


def test_overlong_filtering_follows_the_stage(tmp_path):
    # 3 tokens hold no answer: every completion is truncated and masked, until the stage gives it 12
    stage = {"start": 0.5, "max_completion_length": 12}
    trainer = make(tmp_path, max_completion_length=3, mask_truncated_completions=True, curriculum=[stage], max_steps=16)
    trainer.train()
    assert [record["entropy"] is None for record in trainer.history.records] == [True, True, False, False]
