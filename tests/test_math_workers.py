import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from math_workers import descendants, ends_within, status_kib

from es_trl.rewards import math as reward_module
from es_trl.rewards import math_reward
from es_trl.rewards import workers as workers_module
from es_trl.rewards.worker import MAX_BYTES
from es_trl.rewards.workers import Worker, Workers, workers


pytest.importorskip("math_verify")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc"),
]

ROOT = Path(__file__).parents[1]
RIGHT = ("is_right", ("\\boxed{7}", ["7"]))
SLOW = ("is_right", ("\\boxed{9^{9^{9^{9}}}}", ["7"]))
# A line in one write, because lines that two processes print to one pipe may mix.
SAY = "import os\ndef say(line): os.write(1, f'{line}\\n'.encode())\n"
JUDGE = SAY + (
    "from es_trl.rewards import math_reward\n"
    'rewards = math_reward(["\\\\boxed{7}", "8"], ["7", "7"])\nsay(f"judged {rewards}")\n'
)


def _run(*arguments: str, **kwargs) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **kwargs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def pool():
    return Workers(1)


def _processes(pool: Workers) -> tuple[int, int]:
    """Start the worker of a pool that has none, and its child."""
    before = descendants(os.getpid())
    assert list(pool.ask([RIGHT], 5.0)) == [True]
    worker, child = (process for process in descendants(os.getpid()) if process not in before)
    return worker, child


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    (tmp_path / "script.py").write_text(JUDGE)
    assert _run(str(tmp_path / "script.py")) == "judged [1.0, -1.0]\n"


def test_a_script_from_standard_input(tmp_path):
    assert _run("-", input=JUDGE, cwd=tmp_path) == "judged [1.0, -1.0]\n"


def test_a_forked_child_has_workers_of_its_own():
    fork = (
        "from math_workers import descendants\n"
        "child = os.fork()\nif child == 0:\n    say(len(descendants(os.getpid())))\n"
    )
    judge_and_count = JUDGE + 'say(f"ended {os.waitpid(child, 0)[1] if child else os._exit(0)}")\n' + JUDGE
    lines = _run("-", input=JUDGE + fork + judge_and_count, cwd=ROOT / "tests").splitlines()
    assert lines.count("judged [1.0, -1.0]") == 4 and {"0", "ended 0"} < set(lines)


def test_two_threads_at_once():
    rewards = {}

    def judge(name):
        rewards[name] = math_reward(["\\boxed{7}", "\\boxed{8}"] * 20, [name] * 40)

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("7", "8")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rewards == {"7": [1.0, -1.0] * 20, "8": [-1.0, 1.0] * 20}
    assert math_reward(["\\boxed{7}"], ["7"]) == [1.0]  # the workers outlive the threads that needed them first


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_in_mid_judgement(end):
    script = (
        "import os\nfrom es_trl.rewards.workers import workers\nfrom math_workers import descendants\n"
        f"list(workers().ask([{RIGHT!r}], 5))\nprint(*descendants(os.getpid()), flush=True)\n"
        f"list(workers().ask([{SLOW!r}] * 8, 100))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    processes = list(map(int, parent.stdout.readline().split()))
    assert len(processes) == 2
    parent.send_signal(end)
    parent.communicate()
    assert all(ends_within(process, 5.0) for process in processes)


def test_a_script_that_ends_leaves_no_worker():
    script = JUDGE + "import os\nfrom math_workers import descendants\nprint(*descendants(os.getpid()))\n"
    processes = list(map(int, _run("-", input=script, cwd=ROOT / "tests").splitlines()[1].split()))
    assert processes and all(ends_within(process, 5.0) for process in processes)


def test_a_worker_is_small_and_cannot_grow(pool):
    worker, child = _processes(pool)
    for process in (worker, child):
        assert status_kib(process, "VmHWM") < 100 * 1024
    limits = Path(f"/proc/{child}/limits").read_text().splitlines()
    assert next(line.split()[3] for line in limits if line.startswith("Max address space")) == str(MAX_BYTES)
    assert MAX_BYTES < 1 << 30


def test_an_answer_too_slow_is_ended_and_the_next_judged(pool):
    worker, child = _processes(pool)
    assert list(pool.ask([SLOW, RIGHT], 0.5)) == [None, True]
    assert ends_within(child, 0.0) and not ends_within(worker, 0.0)


def test_a_process_that_has_grown_ends_after_its_answer():
    script = (
        "from es_trl.rewards import worker\n"
        f"for worker.GROWN_BYTES in (1, 1 << 30):\n    print(worker.Child().ask({RIGHT!r}, 5))"
    )
    assert _run("-c", script).splitlines() == ["(True, False)", "(True, True)"]


def test_memory_that_runs_out_is_a_wrong_answer():
    answer = ("is_right", ("\\boxed{2^{2^{36}}}", ["7"]))
    script = (
        f"import time\nfrom es_trl.rewards import judge, worker\nworker.MAX_BYTES = 80 << 20\nchild = worker.Child()\n"
        f"print(child.ask({answer!r}, 60)[0] in (False, None), worker.Child().ask({RIGHT!r}, 5)[0])"
    )
    assert _run("-c", script) == "True True\n"


def test_a_worker_imports_the_judge_alone():
    script = "import sys\nfrom es_trl.rewards import judge, worker\nprint(*sys.modules)"
    assert not {"torch", "transformers", "trl", "datasets", "numpy"} & set(_run("-c", script).split())


@pytest.mark.parametrize("which", [0, 1], ids=["worker", "child"])
def test_a_dead_process_is_replaced(pool, which):
    process = _processes(pool)[which]
    os.kill(process, signal.SIGKILL)
    ends_within(process, 5.0)
    assert list(pool.ask([RIGHT], 5.0)) == [True]


def test_a_process_killed_in_mid_judgement_leaves_its_answer_wrong(pool, monkeypatch):
    said = []
    monkeypatch.setattr(reward_module.logger, "warning", said.append)
    monkeypatch.setattr(reward_module, "workers", lambda: pool)
    killer = threading.Timer(0.3, os.kill, [_processes(pool)[1], signal.SIGKILL])
    killer.start()
    assert math_reward(["\\boxed{9^{9^{9^{9}}}}", "\\boxed{7}"], ["7", "7"]) == [-1.0, 1.0]
    assert len(said) == 1 and said[0].startswith(
        "1 of 2 answers count as wrong, because they took more than 5 s to judge"
    )


def test_a_worker_that_cannot_start_is_said(monkeypatch, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RuntimeError, match="ended before it was ready, with exit code 3: read its own message above"):
        list(Workers(1).ask([RIGHT], 5.0))


def test_workers_start_in_another_folder(monkeypatch, tmp_path):
    (tmp_path / "es_trl.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    worker = Worker()
    assert worker.ask(RIGHT, 5.0) is True
    worker.end()
    assert worker.ended


def test_processes_share_the_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(12))
    counts = []
    for processes in ("1", "3", "40"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        monkeypatch.setattr(workers_module, "_workers", {})
        counts.append(workers()._threads._max_workers)
    assert counts == [8, 4, 1]
