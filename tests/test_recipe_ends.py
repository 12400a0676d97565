"""What a recipe leaves in its folder, also when it is started again after its end."""

import pytest
import yaml
from lab_runs import BONUS, LAB_ARGS
from safetensors.torch import load_file

from es_trl.common.refusals import run
from es_trl.lab import BASE_MODEL
from es_trl.run import run_recipe


def start(folder, **changes):
    """The exit code of a recipe."""
    recipe = {**LAB_ARGS, **BONUS, "output_dir": str(folder / "run"), "model_name_or_path": BASE_MODEL}
    recipe |= {"reward": "countdown", "dtype": "float32", "save_strategy": "steps", "save_steps": 4, **changes}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return run(run_recipe, ["--config", str(folder / "recipe.yaml")])


@pytest.mark.slow
def test_a_recipe_that_is_started_again_touches_nothing(tmp_path, capsys):
    start(tmp_path)
    folder = tmp_path / "run"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "_es_run.lock"}
    capsys.readouterr()
    start(tmp_path, resume_from_checkpoint=True)
    assert "the run is finished: " in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "_es_run.lock"} == before
    for name in ("config.json", "model.safetensors"):  # of a run that was killed before its last save
        (folder / name).unlink()
    start(tmp_path, resume_from_checkpoint=True)
    last = load_file(folder / "checkpoint-8" / "model.safetensors")
    assert all(value.equal(last[name]) for name, value in load_file(folder / "model.safetensors").items())


@pytest.mark.parametrize("value", [False, "false", None])
def test_a_recipe_may_say_that_it_begins_afresh(value, tmp_path):
    start(tmp_path, resume_from_checkpoint=value, max_steps=4)
    assert (tmp_path / "run" / "checkpoint-4").is_dir()


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "es_history.jsonl").mkdir()
    assert start(tmp_path) == 2
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message.startswith("error: es_history.jsonl could not be written to ")
