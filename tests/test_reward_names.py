"""The key `reward` of a recipe: names, files and modules, and what is refused."""

import pickle
import sys

import pytest

from es_trl.lab import countdown_reward
from es_trl.rewards import math_reward
from es_trl.rewards.named import RewardArguments, RewardImportError, load_reward


FILE = """
from dataclasses import dataclass
from neighbour_of_rewards import VALUE

@dataclass
class Score:
    value: float = VALUE

def constant(completions, **columns):
    return [Score().value for _ in completions]

async def later(completions, **columns):
    return [0.0 for _ in completions]

TEXT = "constant"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "math.py").write_text(FILE)  # a name that the standard library has, too
    (tmp_path / "own" / "neighbour_of_rewards.py").write_text("VALUE = 0.5\n")
    (tmp_path / "folder.py").mkdir()
    return tmp_path


def test_names():
    assert RewardArguments().names == [] and RewardArguments("math").names == ["math"]
    assert RewardArguments(["math", "a.py:b"]).names == ["math", "a.py:b"]
    assert load_reward("math") is math_reward and load_reward("countdown") is countdown_reward
    assert load_reward("es_trl.lab.countdown:countdown_reward") is countdown_reward


def test_a_file_has_its_neighbours_and_is_run_once(folder):
    constant = load_reward("own/math.py:constant")
    assert constant(["a", "b"]) == [0.5, 0.5] and constant.__name__ == "constant"
    assert load_reward(f"{folder}/own/math.py:later").__globals__ is constant.__globals__
    assert sys.modules["math"].pi > 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("maths", "`reward` must be math, countdown, .*, got 'maths', did you mean 'math'.: set one of these"),
        ("a.py", "`reward` must be math, .*my_file.py:my_reward.*, got 'a.py'"),
        ("a.py:", "`reward` must be .*, got 'a.py:'"),
        (":f", "`reward` must be .*, got ':f'"),
        ("a.py:f:g", "`reward` must be .*, got 'a.py:f:g'"),
        (".a:f", "`reward` must be .*, got '.a:f'"),
        ("a.py:A.f", "`reward` must be .*, got 'a.py:A.f'"),
        ([], "`reward` must name each function once, got ..: list at least one"),
        (["math", "math"], "`reward` must name each function once, got .'math', 'math'.: list"),
        ([3], "`reward` must be math, .*, got 3"),
    ],
)
def test_other_forms_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        RewardArguments(value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py:f", "`reward` names the file /.*/mine.py, which does not exist: give its path"),
        ("own/math.py:constnt", "'constnt' in /.*/own/math.py, which does not exist, did you mean .constant.*: name"),
        ("own/math.py:TEXT", "'TEXT' in /.*/own/math.py, which is not a function: name a function .def. of it"),
        ("own/math.py:Score", "'Score' in /.*/own/math.py, which is a class: name a function .def. of it"),
        ("es_trl.rewards:math_rewart", "which does not exist, did you mean 'math_reward'"),
        ("folder.py:f", "names the file /.*/folder.py, which is a folder: give its path"),
        ("no_such_package.rewards:f", "the module no_such_package.rewards, which cannot be found: install it"),
    ],
)
def test_what_does_not_exist_is_refused(name, message, folder):
    with pytest.raises(ValueError, match=message):
        load_reward(name)


@pytest.mark.parametrize("text", ["import no_such_module", "raise ValueError('mine')", "raise SystemExit", "1 +"])
def test_an_error_of_the_users_file_is_the_users(text, folder):
    (folder / "broken.py").write_text(text)
    for _ in range(2):  # a module that failed is not kept
        with pytest.raises(
            RewardImportError, match="broken.py, which `reward` names, .* while it was imported"
        ) as raised:
            load_reward("broken.py:f")
    assert isinstance(raised.value.__cause__, (ImportError, ValueError, SystemExit, SyntaxError))


def test_a_function_of_a_file_can_be_sent_to_processes(folder):
    (folder / "own" / "sent_to_processes.py").write_text("def f(completions, **columns):\n    return []\n")
    for name in ("own/sent_to_processes.py", "own/math.py"):
        function = load_reward(f"{name}:{'constant' if 'math' in name else 'f'}")
        assert pickle.loads(pickle.dumps(function)) is function
    assert load_reward("own/sent_to_processes.py:f").__module__ == "sent_to_processes"  # a spawned process finds it
