"""One run at a time writes into a folder, and none is taken for another."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from lab_runs import BONUS
from transformers import TrainerCallback

from es_trl.checkpoints.lineage import Identity, fresh
from es_trl.checkpoints.run_folder import current_lineage, next_run, only_run, write_run


RUN = {"save_strategy": "steps", "save_steps": 4, "max_steps": 8, "prompts": 16}


class Dies(TrainerCallback):
    """Ends the run after an update, as a kill does."""

    def __init__(self, update):
        self.update = update

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.update:
            raise KeyboardInterrupt


def killed(trainer):
    with pytest.raises(KeyboardInterrupt):
        trainer.train()


def runs_of(trainer):
    return [record["run"] for record in trainer.history.records]


@pytest.mark.slow
def test_a_run_that_began_anew_does_not_go_on_with_the_earlier_one(lab_trainer, tmp_path):
    first = lab_trainer(**RUN, **BONUS)
    first.train()
    assert runs_of(first) == [1, 1]
    killed(lab_trainer(**RUN, **BONUS, callbacks=[Dies(2)]))  # afresh in the same folder, before its first checkpoint
    with pytest.raises(
        ValueError, match="the latest run in .* has no whole checkpoint, and .*-8 belongs to another run"
    ):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=True)
    second = lab_trainer(**{**RUN, "max_steps": 4}, **BONUS)
    second.train()
    assert runs_of(second) == [2]
    longer = lab_trainer(**{**RUN, "max_steps": 12}, **BONUS)
    longer.train(resume_from_checkpoint=True)  # from checkpoint-4 of the second run, not from -8 of the first
    assert runs_of(longer) == [2, 2, 2]
    earlier = lab_trainer(**{**RUN, "max_steps": 12}, **BONUS, output_dir=str(tmp_path / "other"))
    earlier.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-12"))
    assert current_lineage(tmp_path / "other") is None  # it was finished: nothing is touched


@pytest.mark.slow
def test_an_abandoned_future_is_not_gone_on_with(lab_trainer, tmp_path):
    """A run of 16 updates goes back to 4 and dies at 10: what it made after 4 at first is not its own any more."""
    run, folder = {**RUN, **BONUS, "save_total_limit": 2}, tmp_path / "run"
    lab_trainer(**{**run, "max_steps": 16, "save_total_limit": None}).train()
    back = lab_trainer(**{**run, "max_steps": 16}, callbacks=[Dies(10)])
    with pytest.raises(KeyboardInterrupt):
        back.train(resume_from_checkpoint=str(folder / "checkpoint-4"))
    again = lab_trainer(**{**run, "max_steps": 12})
    again.train(resume_from_checkpoint=True)
    assert again.state.log_history[8]["step"] == 9 and not again.was_finished  # from 8, and not from 16
    # two of its own; those that it has left behind are not counted, nor deleted
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == [
        "checkpoint-12",
        "checkpoint-16",
        "checkpoint-8",
    ]
    (folder / "_es_run.json").unlink()
    with pytest.raises(ValueError, match="holds checkpoints of several runs .* set resume_from_checkpoint to"):
        lab_trainer(**run).train(resume_from_checkpoint=True)


@pytest.mark.slow
def test_a_resume_by_path_in_a_folder_of_another_run(lab_trainer, tmp_path):
    lab_trainer(**RUN, **BONUS).train()
    lab_trainer(**{**RUN, "max_steps": 16}, **BONUS, output_dir=str(tmp_path / "other")).train()
    moved = lab_trainer(**{**RUN, "max_steps": 12, "save_total_limit": 1}, **BONUS, output_dir=str(tmp_path / "other"))
    moved.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    names = sorted(path.name for path in (tmp_path / "other").glob("checkpoint-*"))
    assert names == ["checkpoint-12", "checkpoint-16", "checkpoint-4"]
    again = lab_trainer(**{**RUN, "max_steps": 12}, **BONUS, output_dir=str(tmp_path / "other"))
    assert again.train(resume_from_checkpoint=True).global_step == 12 and again.was_finished


def test_runs_that_left_nothing_behind_are_not_counted(lab_trainer, tmp_path):
    for _ in range(2):
        killed(lab_trainer(**RUN, callbacks=[Dies(2)]))
    assert next_run(tmp_path / "run") == 1


@pytest.mark.slow
def test_two_runs_in_one_folder_are_refused(lab_trainer, tmp_path):
    trainer = lab_trainer(**RUN)
    code = (
        "import sys, pathlib; from es_trl.checkpoints.run_folder import only_run, write_run;"
        "from es_trl.checkpoints.lineage import Identity;"
        "folder = pathlib.Path(sys.argv[1]);\n"
        "with only_run(folder, True): write_run(folder, Identity(1)); print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=rf"another run is training in .*process {other.pid} on .*: set out"):
            trainer.train()
        assert not (tmp_path / "run" / "es_history.jsonl").exists()
    finally:
        other.kill()
        other.communicate()
    trainer.train()  # the lock of a killed process is gone


def test_a_lock_is_only_the_main_processs(tmp_path):
    with only_run(tmp_path, True), only_run(tmp_path, False):
        pass
    with only_run(tmp_path, True):
        pass


def test_a_number_is_more_than_any_checkpoints(lab_trainer, tmp_path):
    lab_trainer(**RUN).train()
    write_run(tmp_path / "run", Identity(7, fresh()))  # what the folder says does not count, only what was left in it
    assert next_run(tmp_path / "run") == 2


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, {"max_steps": 4}, {"max_steps": -1, "num_train_epochs": 2}])
def test_a_finished_run_stays_as_it_is(change, lab_trainer, tmp_path, capsys):
    run = {**RUN, **BONUS, "save_total_limit": 2, "prompts": 4, "lr_scheduler_type": "constant"}
    whole = lab_trainer(**run)
    whole.train()
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    folder = tmp_path / "run"
    for _ in range(2):
        again = lab_trainer(**{**run, **change})
        output = again.train(resume_from_checkpoint=True)
        assert again.was_finished and output.global_step == again.state.global_step == 8
        assert "the run is finished: " in capsys.readouterr().out
        expected = whole.model.state_dict()
        assert all(value.equal(expected[name]) for name, value in again.model.state_dict().items())
    found = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    lock = folder / "_es_run.lock"
    assert {path: found[path] for path in found if path != lock} == {
        path: files[path] for path in files if path != lock
    }


def test_the_marker_names_run_and_process(tmp_path):
    lineage = fresh()
    write_run(tmp_path, Identity(3, lineage))
    content = json.loads((tmp_path / "_es_run.json").read_text())
    assert (content["run"], content["process"], current_lineage(tmp_path)) == (3, os.getpid(), lineage)
    (tmp_path / "_es_run.json").write_text("{")
    with pytest.raises(ValueError, match="_es_run.json is damaged .*: remove it, and give the folder of a checkpoint"):
        current_lineage(tmp_path)
    shutil.rmtree(tmp_path)
    assert current_lineage(tmp_path) is None
