"""vLLM beside DeepSpeed ZeRO-3 on two processes, of which each has an engine of its own."""

from pathlib import Path

import pytest
from conftest import EXACT, VLLM_ARGS
from lab_runs import BONUS, without_seconds
from launching import launch


WORKER = Path(__file__).parent / "vllm_worker.py"
RUN = {**VLLM_ARGS, "by_rule": False, "per_device_train_batch_size": 2, "learning_rate": 2e-3, **BONUS}
RUN |= {"max_steps": 16, "save_strategy": "steps", "save_steps": 6}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of both processes of a run of four rollouts, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return launch(folder, 2, "zero3", worker=WORKER, **RUN), folder


def test_both_engines_have_the_sharded_weights(whole):
    first, second = whole[0]
    assert (first["world"], first["wrapper"]) == (2, "DeepSpeedEngine")
    assert max(result["parameters_held"] for result in (first, second)) < 220_000  # of 432,000
    records = without_seconds(first["records"])
    assert records == without_seconds(second["records"]) and len(records) == 4
    assert max(record["logp_difference"] for record in records) < EXACT
    assert [record["cut_ratios"] for record in records] == [0.0] * 4
    assert first["settings"] == second["settings"] and first["settings"][2] != 0.0  # the entropy bonus


def test_resume_inside_a_rollout(whole, tmp_path):
    (first, second), folder = whole
    again = launch(tmp_path, 2, "zero3", worker=WORKER, resume_from=str(folder / "checkpoint-6"), **RUN)
    assert without_seconds(again[0]["records"]) == without_seconds(first["records"])
    assert without_seconds(again[1]["records"]) == without_seconds(second["records"])[1:]
    assert [result["weights"] for result in again] == [result["weights"] for result in (first, second)]
