"""What the commands of experiments and benchmarks refuse, each in one line and before anything is measured."""

import subprocess
import sys

import pytest
from launching import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["experiments/run.py", "--seeds", "0"], "`--seeds` must be at least 1, got 0"),
        (["experiments/run.py", "--workers", "-2"], "`--workers` must be at least 1, got -2"),
        (["experiments/run.py", "fig9", "--plan"], "fig9"),
        (
            ["benchmarks/authority.py", "run", "mine"],
            "`--model` must be set for any name but lab, and only then, got mine",
        ),
        (["benchmarks/authority.py", "run", "--model", "models/mine"], "got lab, models/mine"),
        (
            ["benchmarks/direction.py", "run", "mine"],
            "`--model` must be set for any name but lab, and only then, got mine",
        ),
        (
            ["benchmarks/authority.py", "run", "mine", "--model", "no/such/folder"],
            "'no/such/folder', which is a folder that",
        ),
    ],
)
def test_refused(words, line):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert line in done.stderr.splitlines()[-1] and done.stdout == ""


def test_a_line_that_was_cut_is_named(tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from control_report import load

    path = tmp_path / "runs.jsonl"
    path.write_text('{"arm": "a", "seed": 0}\n{"arm": "b", "se')
    with pytest.raises(
        ValueError, match='line 2 of .*runs.jsonl must be a run as JSON, got \'{"arm": "b", "se\': remove it'
    ):
        load(path, ("arm", "seed"))
    path.write_text('{"arm": "a", "seed": 0}\n{"arm": "a", "seed": 0, "x": 1}\n')
    assert load(path, ("arm", "seed")) == {("a", 0): {"arm": "a", "seed": 0, "x": 1}}
