"""The grid of a sweep: its runs in their order, and what is refused before any training."""

import json
import re
import shlex
from pathlib import Path

import pytest
from launching import ROOT
from made_up_sweep import settings_of

from es_trl.__main__ import main as cli
from es_trl.sweep import sweep as whole
from es_trl.sweep.grid import Point, points_of, read_grid, runs_of
from es_trl.sweep.record import fix
from es_trl.sweep.runs import Outcome


COUNTDOWN = ROOT / "recipes" / "countdown_es.yaml"
TARGET = ["--grid", "entropy_schedule.target=0.1,0.3"]


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """A function that runs a command which must be refused in one line, before any run starts."""
    monkeypatch.setattr(whole, "make", lambda *args: pytest.fail("a run has started"))

    def run(*words, recipe=COUNTDOWN):
        assert cli(["sweep", str(recipe), "--output_dir", str(tmp_path / "sweep"), *map(str, words)]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith("error: ") and printed.err.count("\n") == 1 and printed.out == ""
        assert not (tmp_path / "sweep").exists()
        return printed.err

    return run


def test_runs_are_the_product_in_a_fixed_order():
    grid = read_grid(["entropy_schedule.target=0.1, 0.3", "entropy_schedule.ratio=0.1,0.2,0.3"])
    runs = runs_of(grid, 2, Path("all"))
    assert [run.index for run in runs] == list(range(12))
    pairs = [(target, ratio, seed) for target in "13" for ratio in "123" for seed in (0, 1)]
    folders = [Path(f"all/target=0.{t},ratio=0.{r}/seed-{seed}") for t, r, seed in pairs]
    assert [run.folder for run in runs] == folders
    assert runs[3].point.options == ["--entropy_schedule.target=0.1", "--entropy_schedule.ratio=0.2"]
    assert str(runs[3]) == "target 0.1, ratio 0.2, seed 1"


def test_commas_within_brackets_and_quotes_separate_nothing():
    grid = read_grid(["entropy_schedule={kind: cosine, start: 0.4, end: 0.1},stable_anneal", "prompt_suffix='a,b',c"])
    assert grid == {
        "entropy_schedule": ["{kind: cosine, start: 0.4, end: 0.1}", "stable_anneal"],
        "prompt_suffix": ["'a,b'", "c"],
    }


def test_folders_are_unique_plain_names():
    values = ["a/b", "a b", "a-b", "../x", "{kind: cosine}", "{kind; cosine}", "x" * 200, "x" * 201, "-1", "1e-4"]
    folders = [point.folder for point in points_of({"entropy_schedule": values})]
    assert len(set(folders)) == len(values) and not any("/" in name or len(name) > 100 for name in folders)
    assert folders[-2:] == ["entropy_schedule=-1", "entropy_schedule=1e-4"]
    doubled = Point({"entropy_schedule.low": "1", "entropy_actuator.low": "2"})
    assert doubled.folder == "entropy_schedule.low=1,entropy_actuator.low=2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--grid must name at least one key"),
        (["--grid", "max_steps"], "--grid must be a key and its values, got 'max_steps'"),
        (["--grid", "max_steps="], "--grid must be a key and its values"),
        (["--grid", "=1,2"], "--grid must be a key and its values"),
        (["--grid", "max_steps=8,,16"], "--grid must be a key and its values"),
        (["--grid", "max_steps=8", "--grid", "max-steps=16"], "--grid names `max_steps` twice"),
        (["--grid", "max_steps=8,16,8"], "--grid has 8 twice for `max_steps`"),
        (["--grid", "seed=0,1", "--seeds", "2"], "--grid must not name `seed`, which the sweep sets for each run: set"),
        (["--grid", "output_dir=a,b"], "--grid must not name `output_dir`"),
        (["--grid", "max_steps=8,16", "--max_steps", "8"], "`max_steps` is given, but --grid sets it, too"),
        (["--grid", "entropy_schedule=cosine", "--entropy_schedule.end=0.1"], "`entropy_schedule.end` is given, but"),
        ([*TARGET, "--seed", "3"], "--seed must not be given, because the sweep sets it for each run"),
        ([*TARGET, "--resume_from_checkpoint=true"], "--resume_from_checkpoint must not be given"),
        ([*TARGET, "--seeds", "0"], "--seeds must be at least 1, got 0"),
        ([*TARGET, "--n", "0"], "--n must be at least 1, got 0"),
        ([*TARGET, "--k", "1,x"], "--k must be whole numbers, got '1,x'"),
        ([*TARGET, "--k", "1,65"], "`k` must be from 1 to `n`, which is 64, got 65"),
        ([*TARGET, "--index", "2"], "--index must be from 0 to 1, got 2"),
        ([*TARGET, "--index", "-1"], "--index must be from 0 to 1, got -1"),
        ([*TARGET, "--data", "nothing.jsonl"], "nothing.jsonl"),
        ([*TARGET, "--max_step", "8"], "unknown option --max_step, did you mean 'max_steps'?"),
        ([*TARGET, "--push_to_hub", "true"], "`push_to_hub` is true, but the runs would push to one repository"),
        # one point of many is enough
        (["--grid", "entropy_schedule.target=0.1,0.3,high"], "nothing is trained, because target high is refused"),
        (["--grid", "entropy_schedule.tarjet=0.1"], "nothing is trained, because tarjet 0.1 is refused"),
        (["--grid", "max_step=8"], "unknown option --max_step, did you mean"),
        (
            [*TARGET, "--grid", "num_generations=8,7"],
            "num_generations 7 is refused: `num_generations` must",
        ),
        (["--grid", "reward=countdown,nothing.py:f"], "because reward nothing.py:f is refused"),
        # what differs as text only is one run
        (["--grid", "learning_rate=1e-4,0.0001"], "the same run twice, as learning_rate 1e-4 and as learning_rate 0."),
        (["--grid", "entropy_schedule.target=0.30,0.3"], "the same run twice, as target 0.30 and as target 0.3"),
    ],
)
def test_refusals(words, message, refused):
    assert message in refused(*words)


def test_a_recipe_that_cannot_be_read_is_refused(refused, tmp_path):
    assert "cannot be read (No such file" in refused(*TARGET, recipe=tmp_path / "none.yaml")
    (tmp_path / "bare.yaml").write_text("use_cpu: true\nbf16: false\n")
    assert "`reward` must be set" in refused("--grid", "max_steps=8,16", recipe=tmp_path / "bare.yaml")


def test_the_guides_command_passes_every_check(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "guides" / "choose_schedule.md").read_text()
    (command,) = re.findall(r"python -m es_trl (sweep recipes/.*?)```", page, re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(whole, "make", lambda *args: Outcome(failure="none starts here"))
    with pytest.raises(SystemExit):
        cli([*words[: words.index("--output_dir")], "--output_dir", str(tmp_path)])
    assert len(json.loads((tmp_path / "sweep_results.json").read_text())["missing"]) == 12


def test_a_folder_keeps_its_sweep(tmp_path):
    grid = {"a": ["1", "2"], "b": ["1"]}
    settings = settings_of(grid, seeds=2)
    fix(settings, tmp_path)
    fix(settings, tmp_path)
    text = (tmp_path / "sweep.json").read_text()
    assert json.loads(text)["grid"] == grid and (tmp_path / "recipe.yaml").read_text() == "seed: 0\n"
    for changes, words in (
        ({"n": 8}, "(n was 4 and is 8)"),
        ({"recipe": "seed: 1\n"}, "(the text of the recipe)"),
        ({"options": ["--max_steps", "8"], "data": None}, "options was [] and is ['--max_steps', '8']; data was"),
        ({"seeds": 1}, "seeds was 2 and is 1"),
        ({"grid": {"a": ["1", "3"], "b": ["1"]}}, "grid was"),
        ({"grid": {"b": ["1"], "a": ["1", "2"]}}, "grid was"),
        ({"grid": {"a": ["1", "2"]}}, "grid was"),
    ):
        with pytest.raises(ValueError, match="holds a sweep with other settings") as error:
            fix(settings_of(**{"grid": grid, "seeds": 2, **changes}), tmp_path)
        assert words in str(error.value)
    assert (tmp_path / "sweep.json").read_text() == text
    more = settings_of({"a": ["0", "1", "2"], "b": ["1", "2"]}, seeds=3)
    fix(more, tmp_path)
    assert {run.folder for run in settings.runs(tmp_path)} < {run.folder for run in more.runs(tmp_path)}
