"""Dynamic sampling and early exit on two processes with other lengths and other groups to replace: no hang."""

import pytest
from launching import launch


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("config", ["ddp", "zero3"])
def test_any_run_ends_and_is_the_same_on_both(config, tmp_path):
    if config == "zero3":
        pytest.importorskip("deepspeed")
    first, second = launch(tmp_path, 2, config, worker="sampling_worker.py")
    assert first == second and len(first) >= 10
    # the examples are worth something only if they reach every branch
    assert {outcome["ended"] for outcome in first} == {"trained", "nothing to learn"}
    assert any(outcome["ended"] == "trained" and outcome["replaced"] for outcome in first)
    assert any(outcome["ended"] == "trained" and outcome["masked"] for outcome in first)
    assert any(outcome["ended"] == "trained" and outcome["left"] for outcome in first)
    assert any(outcome["tries"] == 0 for outcome in first)
