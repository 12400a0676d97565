"""pass@k over two processes, which share the problems of a batch and repeat some to fill the last one."""

import pytest
from lab_runs import without_seconds
from launching import launch


pytestmark = pytest.mark.slow
RUN = {"worker": "evaluation_worker.py", "num_generations": 4, "max_steps": 2, "steps_per_generation": 2}


def test_two_processes_count_each_problem_once(tmp_path):
    problems, rows = 5, 4
    sizes = {"problems": problems, "gradient_accumulation_steps": 2, **RUN}
    (one,) = launch(tmp_path / "one", 1, "cpu", **sizes, per_device_eval_batch_size=4 * problems)
    first, second = launch(tmp_path / "two", 2, "ddp", **sizes, per_device_eval_batch_size=rows)
    names = ("eval_pass@1", "eval_pass@4")
    expected = [one["metrics"][name] for name in names]
    assert expected[0] not in (0.0, 1.0) and expected[0] * 4 * problems == pytest.approx(
        round(expected[0] * 4 * problems)
    )
    for found in (first, second):
        assert [found["metrics"][name] for name in names] == pytest.approx(expected)
    assert without_seconds(first["records"]) == without_seconds(second["records"])
