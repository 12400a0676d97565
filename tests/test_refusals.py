import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launching import ROOT, environment

from es_trl.__main__ import main as cli
from es_trl.common.refusals import error_line, run
from es_trl.tracking.history import HISTORY_FILE


def one_line(capsys, *command):
    """What the command line says where it refuses, and that it says nothing else."""
    assert cli([str(word) for word in command]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and len(printed.err.splitlines()) == 1 and printed.out == ""
    return printed.err


@pytest.fixture
def run_dir(tmp_path):
    """The folder of a run with a history of one rollout."""
    from dataclasses import asdict

    from es_trl.tracking.history import RolloutRecord

    record = asdict(RolloutRecord(0, 0, entropy=0.5, reward=1.0, completion_tokens=3.0, max_completion_length=8))
    (tmp_path / HISTORY_FILE).write_text(json.dumps(record) + "\n")
    return tmp_path


def test_a_figure_that_cannot_be_written_is_one_line(run_dir, capsys):
    (run_dir / "es_curves.png").mkdir()
    line = one_line(capsys, "plot", run_dir)
    assert f"{run_dir}/es_curves.png cannot be read or written: Is a directory" in line


def test_a_history_that_cannot_be_read_is_one_line(tmp_path, capsys):
    (tmp_path / HISTORY_FILE).mkdir()
    assert "cannot be read or written: Is a directory" in one_line(capsys, "plot", tmp_path)
    (tmp_path / "file").write_text("")
    assert "es_history.jsonl does not exist" in one_line(capsys, "plot", tmp_path / "file")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / HISTORY_FILE).write_text("")
    assert "holds no rollout: give the output_dir of a run" in one_line(capsys, "plot", tmp_path / "b")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), "error: /a/b cannot be read or written: Permission denied"),
        (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device"),
        (ValueError("one\n  two"), "error: one two"),
    ],
)
def test_every_error_of_the_system_names_path_and_cause(error, line):
    assert error_line(error) == line


def test_a_recipe_that_cannot_be_read_is_one_line(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    assert "cannot be read (No such file or directory): name a YAML file" in one_line(capsys, "plan", recipe)
    assert f"the recipe {tmp_path} cannot be read (Is a directory)" in one_line(capsys, "plan", tmp_path)
    recipe.write_bytes("output_dir: é".encode("latin-1"))
    assert "cannot be read (unexpected end of data): name a YAML file in UTF-8" in one_line(capsys, "plan", recipe)
    recipe.write_bytes(b"seed: 1\x00")
    assert "is not valid YAML" in one_line(capsys, "plan", recipe)
    recipe.write_text("")
    assert "must be a mapping of keys to values" in one_line(capsys, "plan", recipe)
    good = ROOT / "recipes" / "countdown_es.yaml"
    for launch in (tmp_path, tmp_path / "nothing.yaml", recipe):
        assert str(launch) in one_line(capsys, "plan", good, "--config_file", launch)


@pytest.mark.slow
def test_a_script_ends_with_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "recipes" / "qwen7b_es.py"), "--use_cpu", "true", "--bf16", "false"]
    command += ["--dataset_name", "nothing.jsonl"]
    settings = environment(HF_HUB_OFFLINE="1")
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ") and "nothing.jsonl" in done.stderr


def test_an_error_in_training_keeps_its_traceback(lab_trainer):
    def breaks(completions, **kwargs):
        raise ValueError("the reward breaks")

    with pytest.raises(ValueError, match="the reward breaks"):
        run(lambda argv: lab_trainer(reward=breaks).train(), [])


def test_a_reward_that_ends_the_program_is_no_success(lab_trainer):
    with pytest.raises(RuntimeError, match="called sys.exit.. while the model trained"):
        run(lambda argv: lab_trainer(reward=lambda completions, **kwargs: sys.exit()).train(), [])


def test_a_refusal_within_training_keeps_its_traceback(lab_trainer):
    trainer = lab_trainer(reward=lambda completions, **kwargs: [None] * len(completions), dynamic_sampling_tries=1)
    with pytest.raises(ValueError, match="no reward function gave a reward"):
        run(lambda argv: trainer.train(), [])


def test_an_error_of_the_scripts_own_code_keeps_its_traceback():
    with pytest.raises(ValueError, match="invalid literal"):
        run(lambda argv: int("many"), [])


@pytest.mark.parametrize("text", ["raise ValueError('mine')", "import json\njson.loads('{')", "open('no/such/file')"])
def test_an_error_of_the_users_reward_file_keeps_its_traceback(text, tmp_path):
    from es_trl.rewards.named import RewardImportError
    from es_trl.run import run_recipe

    (tmp_path / "own.py").write_text(text)
    (tmp_path / "recipe.yaml").write_text(f"reward: {tmp_path}/own.py:f\nuse_cpu: true\nbf16: false\n")
    with pytest.raises(RewardImportError, match=r"own.py, which `reward` names, raised an error while it was imported"):
        run(run_recipe, ["--config", str(tmp_path / "recipe.yaml")])


def resume(argv):
    from es_trl.checkpoints.choice import find_checkpoint

    find_checkpoint(True, Path("nothing"))


def test_a_refusal_is_one_line_unless_the_traceback_is_asked_for(capsys):
    assert run(resume, ["--max_steps", "1"]) == 2
    assert re.fullmatch("error: .*no whole checkpoint.*\n", capsys.readouterr().err)
    assert run(resume, ["--traceback"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last)") and "no whole checkpoint" in shown.splitlines()[-1]
    assert run(lambda argv: None, []) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "the command must be train, plan, plot or report, got none: write python -m es_trl train RECIPE.yaml"),
        ("plott x", "the command must be train, plan, plot or report, got 'plott'"),
        ("--max_steps 2 train r.yaml", "the command must be train, plan, plot or report, got '--max_steps'"),
        ("train", "RECIPE.yaml must follow train at once: write python -m es_trl train RECIPE.yaml"),
        ("train --max_steps 2 r.yaml", "RECIPE.yaml must follow train at once"),
        ("plot", "RUN_DIR must follow plot at once"),
        ("report", "RUN_DIR must follow report at once"),
        ("plot x --y", "unrecognized arguments: --y: see python -m es_trl --help"),
        ("train r.yaml s.yaml", "an option must begin with --, got 's.yaml' behind the recipe: write --key value"),
        ("plan r.yaml -x 1", "an option must begin with --, got '-x' behind the recipe"),
        ("train r.yaml max_steps=2", "an option must begin with --, got 'max_steps=2'"),
        ("train r.yaml --config s.yaml", "the recipe is named without --config: python -m es_trl train RECIPE.yaml"),
    ],
)
def test_a_wrong_command_line_is_one_line(words, line, capsys):
    assert line in one_line(capsys, *words.split())


@pytest.mark.slow
def test_the_reader_of_a_plan_may_take_a_part_of_it(tmp_path):
    command = f"set -o pipefail; {sys.executable} -m es_trl plan recipes/countdown_es.yaml | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("processes ")
