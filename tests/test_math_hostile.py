import os
import sys
import time

import pytest
from hostile_answers import hostile_answers
from math_workers import descendants, status_kib

from es_trl.rewards import math_reward
from es_trl.rewards.workers import Workers


pytestmark = pytest.mark.slow


pytest.importorskip("math_verify")

ANSWERS = hostile_answers()
ALWAYS = ("null bytes", "lone surrogates", "code", "a reply", "a million characters", "a million boxes", "open tags")


def test_hostile_answers_are_wrong_and_end_in_time():
    pool, peak = Workers(1), 0
    before = descendants(os.getpid()) if sys.platform == "linux" else []
    assert list(pool.ask([("is_right", ("\\boxed{7}", ["7"]))], 60.0)) == [True]
    for name in {*list(ANSWERS)[::8], *ALWAYS}:
        started = time.perf_counter()
        (outcome,) = pool.ask([("is_right", (ANSWERS[name], ["7"]))], 1.0)
        assert not outcome, name
        assert time.perf_counter() - started < 2.0, name
        if sys.platform == "linux":
            ours = [process for process in descendants(os.getpid()) if process not in before]
            peak = max([peak, *(status_kib(process, "VmHWM") for process in ours)])
            assert len(ours) <= 2, name
    assert peak < 1 << 20  # KiB
    assert list(pool.ask([("is_right", ("\\boxed{7}", ["7"]))], 60.0)) == [True]


def test_a_batch_with_hostile_answers_is_judged_in_bounded_time():
    hostile = [ANSWERS["tower of 10, 4"], ANSWERS["factorial"], ANSWERS["300 brackets"], ANSWERS["division by zero"]]
    started = time.perf_counter()
    rewards = math_reward([*hostile, *["\\boxed{7}"] * 60], ["7"] * 64)
    assert rewards == [-1.0] * 4 + [1.0] * 60
    assert time.perf_counter() - started < 30.0  # 5 s for each of three by one worker, its start, and a slow machine


def test_hostile_golds_make_answers_wrong():
    assert math_reward(["\\boxed{7}"] * 2, ["(" * 60 + "7" + ")" * 60, "7"]) == [-1.0, 1.0]


def test_what_processes_cannot_be_told_by_text_arrives():
    texts = ["\ud800 \x00 \udfff \boxed{7}".replace("\b", "\\b"), "\x00\\boxed{7}\n", "\u202e\\boxed{7}"]
    assert math_reward(texts, ["7"] * 3) == [1.0] * 3
    assert math_reward(["\\boxed{7}"], ["\ud800"]) == [-1.0]
