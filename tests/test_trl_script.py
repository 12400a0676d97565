"""`examples/trl_script_es.py` is a TRL script with two other lines, and those hold its entropy."""

import difflib
import re
import subprocess
import sys

import pytest
from launching import LIMIT, ROOT, environment


PLAIN, SCHEDULED = (ROOT / "examples" / name for name in ("trl_script.py", "trl_script_es.py"))
TARGET = 0.4  # nats


def changed_lines():
    """The lines that only the plain script has, and those that only the scheduled one has."""
    lines = difflib.ndiff(PLAIN.read_text().splitlines(), SCHEDULED.read_text().splitlines())
    marked = [(line[0], line[2:]) for line in lines]
    return [text for mark, text in marked if mark == "-"], [text for mark, text in marked if mark == "+"]


def run(script, folder):
    """The last logged entropies of a script, nats, whose run is cut to 25 rollouts."""
    code = script.read_text().replace("max_steps=200", "max_steps=100")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return [float(value) for value in re.search(r"entropy, nats: \[(.*)\]", done.stdout)[1].split(", ")]


def test_two_lines_differ():
    removed, added = changed_lines()
    assert removed == ["from trl import GRPOConfig, GRPOTrainer"]
    assert len(added) == 2 and added[0].startswith("from es_trl import ESGRPOConfig as GRPOConfig")
    assert [line.strip().partition("=")[0] for line in added[1:]] == ["entropy_schedule"]


def test_the_page_shows_the_diff():
    page = (ROOT / "docs" / "start" / "notebook.md").read_text()
    shown = re.search(r"```diff\n(.*?)```", page, re.DOTALL)[1].splitlines()
    removed, added = changed_lines()
    assert [line[1:] for line in shown if line.startswith("-")] == removed
    assert [line[1:] for line in shown if line.startswith("+")] == added


@pytest.mark.slow
def test_entropy_falls_without_them_and_is_held_with_them(tmp_path):
    plain, scheduled = run(PLAIN, tmp_path), run(SCHEDULED, tmp_path)
    assert plain[-1] < TARGET - 0.06
    assert all(abs(entropy - TARGET) < 0.04 for entropy in scheduled[-3:])
