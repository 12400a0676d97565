"""How transformers saves, resumes and pushes: what es_trl overrides of it, on a run of TRL's own trainer."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers.trainer
from seam_runs import Probe, probe
from transformers import TrainerCallback


class Watched(Probe):
    """Notes which files are there when they are saved, and pushes nothing."""

    def __init__(self, *args, **kwargs):
        self.files = {}
        super().__init__(*args, **kwargs)

    def _note(self, name, folder):
        self.files[name, self.state.global_step] = sorted(path.name for path in Path(folder).glob("*"))

    def _save_optimizer_and_scheduler(self, output_dir):
        self._note("parts", output_dir)
        super()._save_optimizer_and_scheduler(output_dir)

    def _save_rng_state(self, output_dir):
        self._note("random", output_dir)
        super()._save_rng_state(output_dir)

    def _push_from_checkpoint(self, checkpoint_folder):
        self._note("push", checkpoint_folder)


class SaveAt3(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_save = state.global_step == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    trainer = probe(tmp_path_factory.mktemp("run"), Watched, max_steps=6)
    trainer.args.push_to_hub = True
    trainer.add_callback(SaveAt3)
    trainer.train()
    return trainer


@pytest.mark.seam("_run_epoch", "_maybe_log_save_evaluate", "_save_checkpoint", "_finalize_training")
def test_a_save_is_made_behind_its_update(run):
    (epoch,), (end,) = run.calls("_run_epoch"), run.calls("_finalize_training")
    ends = ["_maybe_log_save_evaluate"]  # once more, at the end of the epoch
    assert [call.name for call in epoch.inside] == ["training_step", "_maybe_log_save_evaluate"] * 6 + ends
    behind = epoch.each("_maybe_log_save_evaluate")
    assert [call.update for call in behind] == [call.step for call in behind] == [1, 2, 3, 4, 5, 6, 6]
    assert [len(call.each("_save_checkpoint")) for call in behind] == [0, 0, 1, 0, 0, 0, 0]
    assert end.result.global_step == 6 and end.each("_finish_current_push")
    assert run.calls("_save_checkpoint")[0].args[1] is None  # no trial


@pytest.mark.seam("_save_checkpoint", "_save_optimizer_and_scheduler", "_save_rng_state", "_get_output_dir")
def test_order_of_a_save(run):
    (save,) = run.calls("_save_checkpoint")
    names = [call.name for call in save.inside]
    assert names == ["create_model_card", "save_model", "_save_optimizer_and_scheduler", "_save_rng_state"]
    parts, random, push = (run.files[name, 3] for name in ("parts", "random", "push"))
    assert "model.safetensors" in parts and "optimizer.pt" not in parts
    assert "optimizer.pt" in random and "rng_state.pth" not in random and "trainer_state.json" not in random
    # a push has the whole checkpoint, and so what both hooks have written
    assert {"optimizer.pt", "rng_state.pth", "trainer_state.json"} <= set(push)
    assert run._get_output_dir(trial=None) == run.args.output_dir


@pytest.mark.seam("_save_checkpoint")
def test_old_checkpoints_are_removed_by_a_function_of_the_module(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(transformers.trainer, "rotate_checkpoints", lambda **kwargs: given.append(kwargs))
    trainer = probe(tmp_path, max_steps=2, save_strategy="steps", save_steps=2, save_total_limit=3)
    trainer.train()
    (rotation,) = given
    assert {name: rotation[name] for name in ("output_dir", "save_total_limit", "best_model_checkpoint")} == {
        "output_dir": str(tmp_path), "save_total_limit": 3, "best_model_checkpoint": None,
    }  # fmt: skip


@pytest.mark.seam("_init_training_state", "_prepare_for_training", "_load_from_checkpoint")
def test_order_of_a_resume(run):
    checkpoint = str(Path(run.args.output_dir) / "checkpoint-3")

    class Going(Probe):
        def _prepare_for_training(self, *args):
            prepared = super()._prepare_for_training(*args)
            self.at = (self.state.global_step, self._step, self._buffered_inputs, len(self.optimizer.state))
            return prepared

    trainer = probe(Path(run.args.output_dir) / "resumed", Going, max_steps=6)
    trainer.train(checkpoint)
    names = [call.name for call in trainer.open[0].inside]
    order = ["_load_from_checkpoint", "_init_training_state", "_prepare_for_training", "_run_epoch"]
    assert [name for name in names if name in order] == order
    (begun,), (prepared,) = trainer.calls("_init_training_state"), trainer.calls("_prepare_for_training")
    assert begun.args[3] == prepared.args[2] == trainer.calls("_load_from_checkpoint")[0].args[0] == checkpoint
    assert begun.result == (0, 3) and prepared.args[0] == 6
    update, step, buffered, moments = trainer.at
    # the optimizer is back, and what TRL counts is not: it would make a rollout anew
    assert update == 3 and moments > 0 and (step, buffered) == (0, None)
    steps = trainer.calls("training_step")
    assert [call.update for call in steps] == [3, 4, 5] and steps[0].each("_generate_and_score_completions")


@pytest.mark.seam("_step", "_buffered_inputs")
def test_a_rollout_that_is_given_back_goes_on(run):
    class Going(Probe):
        def _prepare_for_training(self, *args):
            prepared = super()._prepare_for_training(*args)
            self._step, self._buffered_inputs = 3, run.calls("_prepare_inputs")[0:4]
            self._buffered_inputs = [call.result for call in self._buffered_inputs]
            return prepared

    trainer = probe(Path(run.args.output_dir) / "given", Going, max_steps=6)
    trainer.train(str(Path(run.args.output_dir) / "checkpoint-3"))
    made = [bool(call.each("_generate_and_score_completions")) for call in trainer.calls("training_step")]
    assert made == [False, True, False] and trainer._step == 6


@pytest.mark.seam("_issue_warnings_after_load", "_load_from_checkpoint", "_load_best_model")
def test_a_load_says_what_it_left_out(run):
    from safetensors.torch import load_file, save_file

    whole = Path(run.args.output_dir) / "checkpoint-3"
    folder = Path(run.args.output_dir) / "less"
    folder.mkdir()
    weights = load_file(whole / "model.safetensors")
    name = "model.norm.weight"
    save_file({**{key: value for key, value in weights.items() if key != name}, "more": torch.zeros(1)},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    (folder / "config.json").write_text((whole / "config.json").read_text())
    trainer = probe(folder / "run")
    trainer._load_from_checkpoint(str(folder))
    trainer.state = SimpleNamespace(best_model_checkpoint=str(folder), best_metric=1.0, global_step=0)
    trainer._load_best_model()
    for call in trainer.calls("_issue_warnings_after_load"):
        (left,) = call.args
        assert (list(left.missing_keys), list(left.unexpected_keys)) == ([name], ["more"])
    assert len(trainer.calls("_issue_warnings_after_load")) == 2


@pytest.mark.seam("_finalize_training")
def test_the_last_checkpoint_beside_the_best_one_is_kept_only_without_a_limit(tmp_path):
    kept = {}
    for limit in (1, None):
        trainer = probe(tmp_path / str(limit), max_steps=4, save_strategy="steps", save_steps=2, save_total_limit=2)
        best = tmp_path / str(limit) / "checkpoint-2"

        class Best(TrainerCallback):
            def on_step_end(self, args, state, control, best=best, limit=limit, **kwargs):
                if state.global_step == 4:
                    state.best_model_checkpoint, args.save_total_limit = str(best), limit

        trainer.add_callback(Best)
        trainer.train()
        kept[limit] = sorted(folder.name for folder in (tmp_path / str(limit)).glob("checkpoint-*"))
    assert kept == {1: ["checkpoint-2"], None: ["checkpoint-2", "checkpoint-4"]}


@pytest.mark.seam("_push_from_checkpoint", "_finish_current_push")
def test_a_push_runs_behind_the_training(run, monkeypatch):
    uploads = []

    class Hub:
        def upload_folder(self, **kwargs):
            uploads.append(kwargs)
            return SimpleNamespace(done=lambda: True, result=lambda: None)

    monkeypatch.setattr(transformers.trainer, "hf_api", Hub)
    checkpoint = Path(run.args.output_dir) / "checkpoint-3"
    run.hub_model_id, run.push_in_progress, run.args.hub_token = "me/model", None, "hf_x"
    run.args.hub_strategy = "checkpoint"
    Probe._push_from_checkpoint(run, str(checkpoint))
    model, last = uploads
    for upload in uploads:
        assert upload["run_as_future"] is True and upload["token"] == "hf_x" and upload["repo_id"] == "me/model"
    assert model["folder_path"] == run.args.output_dir and last["folder_path"] == str(checkpoint)
    assert model["ignore_patterns"] == ["_*", "checkpoint-*"] and last["path_in_repo"] == "last-checkpoint"
    assert len(run.push_in_progress.jobs) == 2
    run._finish_current_push()
    # the last push writes the model and its card first
    before = len(run.open[0].inside)
    run.push_to_hub(blocking=False)
    names = [call.name for call in run.open[0].inside[before:]]
    assert names == ["save_model", "create_model_card", "_finish_current_push"]
    assert uploads[-1]["run_as_future"] is True and uploads[-1]["ignore_patterns"] == model["ignore_patterns"]


@pytest.mark.seam("_save_checkpoint")
def test_a_state_says_what_the_callbacks_export(run):
    state = json.loads((Path(run.args.output_dir) / "checkpoint-3" / "trainer_state.json").read_text())
    assert state["global_step"] == 3 and state["stateful_callbacks"]["TrainerControl"]["args"]["should_save"] is True
