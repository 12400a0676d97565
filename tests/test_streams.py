"""Training data without a length."""

import pytest
import torch
from lab_runs import BONUS, without_seconds

from es_trl import ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


RUN = {"save_strategy": "steps", "save_steps": 1, "max_steps": 20}


def stream_trainer(args, prompts, shards=1):
    stream = countdown_dataset(prompts, seed=1).to_iterable_dataset(num_shards=shards)
    return ESGRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=stream)


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stream_shorter_than_the_run_resumes_to_the_same_prompts(shuffle, lab_args, tmp_path):
    """10 prompts are 2 rollouts of 4 per pass, and the run has 5: it ends in the third pass."""
    run = {**RUN, **BONUS, "shuffle_dataset": shuffle}
    whole = stream_trainer(lab_args(**run), 10)
    whole.train()
    expected, weights = without_seconds(whole.history.records), whole.model.state_dict()
    assert len(expected) == 5
    for update in (6, 8, 12, 15):  # in the first pass, at its end, in the second, and in its last rollout
        resumed = stream_trainer(lab_args(**{**run, "output_dir": str(tmp_path / f"from{update}")}), 10)
        resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{update}"))
        assert without_seconds(resumed.history.records) == expected
        assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())


@pytest.mark.parametrize("prompts", [3, 1])
def test_a_stream_smaller_than_a_rollout_is_refused(prompts, lab_args):
    with pytest.raises(ValueError, match="so nothing was trained: give a stream of at least 4"):
        stream_trainer(lab_args(), prompts).train()


def test_an_empty_stream_is_refused(lab_args):
    stream = countdown_dataset(4, seed=1).to_iterable_dataset().filter(lambda row: False)
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, lab_args(), train_dataset=stream)
    with pytest.raises(ValueError, match="too short for one rollout, so nothing was trained"):
        trainer.train()


def test_a_stream_shorter_than_an_update_is_refused(lab_args):
    """A pass of 1 rollout has 4 micro-batches, and an update takes 8: no update would ever be made."""
    args = lab_args(per_device_train_batch_size=4, steps_per_generation=4, gradient_accumulation_steps=8, max_steps=2)
    with pytest.raises(ValueError, match="too short for one update: it gave 4 micro-batches but an update takes 8"):
        stream_trainer(args, 5).train()
