"""When a checkpoint is written, and what is said where it cannot be."""

import itertools
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch
from lab_runs import BONUS, LAB_ARGS, without_seconds
from transformers import TrainerCallback

from es_trl import ESGRPOConfig, ESGRPOTrainer, RolloutCallback
from es_trl.checkpoints.files import check
from es_trl.common import writing
from es_trl.common.writing import SaveError
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


RUN = {"save_strategy": "steps", "save_steps": 4, "max_steps": 12, "prompts": 16}


class Asks(RolloutCallback):
    """Asks for a save at an event of the loop or of a rollout, once."""

    def __init__(self, event, update):
        setattr(self, event, self._save)
        self.update, self.trainer = update, None

    def _save(self, args, state, control, **kwargs):
        if state.global_step == self.update and self.trainer is not None:
            trainer, self.trainer = self.trainer, None
            trainer._save_checkpoint(trainer.model, trial=None)


def numbers(folder):
    return sorted(int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*"))


class SaveAt(TrainerCallback):
    """Asks for a save at an event, as transformers' callback for SIGTERM does, and stops where told to."""

    def __init__(self, event, update, stops):
        setattr(self, event, self._save)
        self.update, self.stops, self.trainer = update, stops, None

    def _save(self, args, state, control, **kwargs):
        if state.global_step == self.update and self.trainer is not None:
            control.should_training_stop = control.should_training_stop or self.stops
            trainer, self.trainer = self.trainer, None
            trainer._save_checkpoint(trainer.model, trial=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "saved"), [("on_step_begin", 5), ("on_substep_end", 6), ("on_pre_optimizer_step", 6), ("on_step_end", 5)]
)
@pytest.mark.parametrize("stops", [False, True])
def test_a_save_at_any_moment_resumes_to_the_same_run(event, saved, stops, lab_trainer, tmp_path):
    run = {**RUN, **BONUS, "save_steps": 100, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    run["steps_per_generation"] = 8  # 2 micro-batches per update, 4 updates per rollout
    whole = lab_trainer(**run, output_dir=str(tmp_path / "whole"))
    whole.train()
    asks = SaveAt(event, 5, stops)
    stopped = lab_trainer(**run, callbacks=[asks])
    asks.trainer = stopped
    stopped.train()
    inside = stops and event == "on_substep_end"  # the update is never finished, so nothing can be saved
    assert numbers(tmp_path / "run") == sorted({*([] if inside else [saved]), *([] if stops else [12])})
    if inside:
        return
    assert check(tmp_path / "run" / f"checkpoint-{saved}").damage is None
    resumed = lab_trainer(**run, output_dir=str(tmp_path / "resumed"))
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{saved}"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "update"),
    [
        ("on_step_begin", 0),
        ("on_step_begin", 4),
        ("on_epoch_begin", 4),
        ("on_prediction_step", 6),
        ("on_rollout_begin", 8),
        ("on_rollout_end", 8),
    ],
)
def test_a_save_where_a_resume_could_not_go_on_waits(event, update, lab_trainer, tmp_path):
    """The loader, an evaluation or a new rollout has drawn from the random state, or is under way. An epoch is 4."""
    run = {**RUN, **BONUS, "save_steps": 100, "prompts": 6, "eval_strategy": "steps", "eval_steps": 6}
    run |= {"per_device_eval_batch_size": 4, "num_iterations": 1, "curriculum": None}

    def made(folder, callbacks=None):
        trainer = ESGRPOTrainer(
            BASE_MODEL,
            countdown_reward,
            ESGRPOConfig(str(tmp_path / folder), **{**LAB_ARGS, **{k: v for k, v in run.items() if k != "prompts"}}),
            countdown_dataset(6, seed=1),
            countdown_dataset(4, seed=2),
            callbacks=callbacks,
        )
        return trainer

    whole = made("whole")
    whole.train()
    asks = Asks(event, update)
    saved = made("run", [asks])
    asks.trainer = saved
    saved.train()
    assert asks.trainer is None  # it has asked
    places = [place for place in numbers(tmp_path / "run") if place != 12]
    assert len(places) == 1
    resumed = made("resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{places[0]}"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())


@pytest.mark.slow
def test_a_set_back_clock_does_not_choose_what_is_deleted(lab_trainer, tmp_path):
    clock = itertools.count(2_000_000_000, -1000)

    class Backwards(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            moment = next(clock)
            for path in Path(args.output_dir).glob(f"checkpoint-{state.global_step}"):
                os.utime(path, (moment, moment))

    lab_trainer(**RUN, save_total_limit=2, callbacks=[Backwards()]).train()
    assert numbers(tmp_path / "run") == [8, 12]


class Breaks(TrainerCallback):
    """Does something to the run's folder after an update."""

    def __init__(self, update, what):
        self.update, self.what = update, what

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.update:
            self.what()


@pytest.fixture
def file_limit():
    """A function that lets files grow to so many bytes only: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [100_000, 1_700_000]
)  # too little for the weights (1 MB), and for the optimizer (2 MB)
def test_a_save_that_does_not_fit_is_one_sentence_and_the_last_checkpoint_survives(
    size, file_limit, lab_trainer, tmp_path
):
    trainer = lab_trainer(**RUN, **BONUS, callbacks=[Breaks(5, lambda: file_limit(size))])
    with pytest.raises(SaveError) as raised:
        trainer.train()
    file_limit(resource.RLIM_INFINITY)
    message = str(raised.value)
    assert message.startswith(
        f"the checkpoint of update 8 could not be written to {tmp_path / 'run' / 'checkpoint-8'} ("
    )
    assert message.endswith("): make room or mend the folder, and resume from the last whole checkpoint")
    assert "\n" not in message and numbers(tmp_path / "run") == [4]
    resumed = lab_trainer(**RUN, **BONUS)
    resumed.train(resume_from_checkpoint=True)
    assert [record["rollout"] for record in resumed.history.records] == [0, 1, 2]


def test_a_history_that_cannot_be_written_is_one_sentence(lab_trainer, tmp_path):
    path = tmp_path / "run" / "es_history.jsonl"

    def replace():
        path.unlink()
        path.mkdir()

    with pytest.raises(SaveError, match="the history could not be written to .*jsonl .Is a directory.: make"):
        lab_trainer(**RUN, callbacks=[Breaks(5, replace)]).train()
    assert check(tmp_path / "run" / "checkpoint-4").damage is None


def test_a_folder_that_is_gone_is_one_sentence(lab_trainer, tmp_path):
    with pytest.raises(SaveError, match="could not be written to .*run.* .No such file or directory.: "):
        lab_trainer(**RUN, callbacks=[Breaks(5, lambda: shutil.rmtree(tmp_path / "run"))]).train()


@pytest.mark.slow
def test_a_save_that_fails_brings_back_what_it_replaced(file_limit, lab_trainer, tmp_path):
    """The only whole checkpoint is of an earlier run, at the update that the new one saves first."""
    lab_trainer(**{**RUN, "max_steps": 4}, **BONUS).train()
    with pytest.raises(SaveError, match="the checkpoint of update 4 could not be written"):
        lab_trainer(**RUN, **BONUS, callbacks=[Breaks(3, lambda: file_limit(100_000))]).train()
    file_limit(resource.RLIM_INFINITY)
    assert numbers(tmp_path / "run") == [4] and check(tmp_path / "run" / "checkpoint-4").damage is None


def test_errors_that_are_not_of_files_pass(tmp_path):
    for error in (RuntimeError("CUDA out of memory"), ValueError("x"), KeyError("x")):
        with pytest.raises(type(error)) as raised, writing.writing(tmp_path, "x"):
            raise error
        assert raised.value is error
