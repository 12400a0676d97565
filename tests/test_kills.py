"""Kills of a run at random moments. The long mode: `python tests/kill_and_resume.py --kills 20 --processes 2`."""

import json
import subprocess
import sys

import pytest
from launching import ROOT, environment


pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("processes", "kills"), [(1, 1), (2, 2)])
def test_a_killed_run_resumes_to_the_same_run(processes, kills):
    command = [sys.executable, str(ROOT / "tests" / "kill_and_resume.py"), "--kills", str(kills), "--seed", "7"]
    done = subprocess.run(
        [*command, "--processes", str(processes)], env=environment(), capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert json.loads(done.stdout)["kills"] == kills
