import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import injected  # noqa: E402
import overhead  # noqa: E402
import update_phase  # noqa: E402
import update_phase_report  # noqa: E402
from meters import CPUMemory  # noqa: E402


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of one repetition of the quick case, and what its run printed into the summary."""
    folder = tmp_path_factory.mktemp("update_phase")
    update_phase.run(update_phase.QUICK, folder / "runs.jsonl", 1)
    return folder, update_phase_report.report(update_phase_report.load(folder / "runs.jsonl"), ["quick"], folder)


@pytest.mark.parametrize("lengths", ["lognormal", "uniform", "equal"])
@pytest.mark.parametrize("case", [*update_phase.CPU_CASES.values(), *update_phase.GPU_CASES.values()])
def test_lengths_of_a_case(case, lengths):
    drawn = replace(case, lengths=lengths).completion_lengths()
    assert len(drawn) == case.completions and min(drawn) >= 1
    assert sum(drawn) == pytest.approx(case.completions * case.mean, rel=1e-3)
    if lengths == "lognormal":
        assert max(drawn) == pytest.approx(case.longest, abs=1)
    if lengths == "uniform":
        assert max(drawn) < 2 * case.mean
    same = replace(case, lengths="equal")
    assert len(same.prompt_lengths()) * case.per_prompt == case.completions
    assert sum(case.prompt_lengths()) == pytest.approx(sum(same.prompt_lengths()), rel=0.01)


def test_the_rollout_is_the_same_every_time_and_the_limit_has_no_padding():
    case = update_phase.QUICK["quick"]
    first, second, equal = (
        injected.Injected(each, CPUMemory(each.updates)) for each in (case, case, replace(case, lengths="equal"))
    )
    assert first.completions == second.completions and first.prompts == second.prompts
    assert {len(ids) for ids in equal.completions} == {case.mean}
    assert {len(ids) for ids in equal.prompts} == {case.prompt}
    assert all(ids[-1] == 1 and 1 not in ids[:-1] for ids in first.completions)


@pytest.mark.slow
def test_shape_of_the_table(quick):
    folder, text = quick
    records = update_phase_report.load(folder / "runs.jsonl")
    assert [variant for _, variant in records] == [name for name in injected.VARIANTS if injected.is_known(name)]
    rows = update_phase_report.rows_of(records, "quick")
    assert {len(row) for row in rows} == {9} and [row[0] for row in rows[1:]] == [*update_phase_report.TITLES.values()]
    by_name = {row[0]: row for row in rows}
    assert by_name["TRL"][2] == by_name["TRL, trimmed"][4] == by_name["limit"][3] == "1.00"
    assert all(f"| {' | '.join(row)} |" in text for row in rows)


@pytest.mark.slow
def test_every_variant_has_trls_losses(quick):
    records = update_phase_report.load(quick[0] / "runs.jsonl")
    trl = records["quick", "trl"]
    assert len(trl["losses"]) == update_phase.QUICK["quick"].updates
    for variant in ("trimmed", "es_trl"):
        for series in ("losses", "gradient_norms"):
            assert update_phase_report.difference(records["quick", variant], trl, series) < 1e-5
    assert update_phase_report.difference(records["quick", "limit"], trl, "gradient_norms") > 1e-3
    assert 0 < records["quick", "limit"]["peak"] < trl["peak"]


@pytest.mark.slow
def test_the_update_phases_summary_is_made_from_its_data(quick, tmp_path):
    folder, text = quick
    records = update_phase_report.load(folder / "runs.jsonl")
    assert update_phase_report.report(records, ["quick"], tmp_path) == (folder / "summary.md").read_text() == text


def test_rows_by_hand_and_rows_that_are_not_measured():
    case = update_phase.CPU_CASES["workload"]
    sizes = {"completions": case.completions, "mean": case.mean, "longest": case.longest}
    record = {"sizes": sizes, "tokens": 8000, "losses": [0.5, -1.0], "gradient_norms": [2.0, 1.0], "peak": 4 * 2**20}
    records = {
        ("workload", "trl"): {**record, "seconds": [40.0, 10.0, 16.0]},
        ("workload", "es_trl"): {**record, "seconds": [4.0], "peak": 2**20, "losses": [0.5, -1.01]},
        ("workload", "limit"): {**record, "seconds": [2.0]},
    }
    rows = {row[0]: row[1:] for row in update_phase_report.rows_of(records, "workload")}
    assert rows["TRL"] == ["16.00", "1.00", "0.12", "not measured", "4", "1.00", "0e+00", "0e+00"]
    assert rows["es_trl"] == ["4.00", "4.00", "0.50", "not measured", "1", "0.25", "1e-02", "0e+00"]
    assert rows["limit"][-2:] == ["-", "-"] and set(rows["TRL, trimmed"]) == {"not measured"}
    swept = update_phase_report.sweep(records, ("workload", "fill 0.1"))
    assert swept[1] == ["workload", "64", "100", "512", "8000", "2000", "not measured", "500", "not measured", "250"]
    assert len(swept) == 2


@pytest.mark.parametrize("benchmark", [update_phase, overhead])
def test_a_committed_summary_is_made_from_its_data(benchmark, tmp_path):
    if not benchmark.RESULTS.exists():
        pytest.skip("no results are committed")
    if benchmark is overhead:
        text = overhead.report(json.loads((overhead.RESULTS / "times.json").read_text()), tmp_path)
    else:
        cases = [*update_phase.CPU_CASES, *update_phase.GPU_CASES]
        text = update_phase_report.report(
            update_phase_report.load(update_phase.RESULTS / "runs.jsonl"), cases, tmp_path
        )
    assert text == (benchmark.RESULTS / "summary.md").read_text()


@pytest.mark.slow
def test_the_overheads_table(tmp_path):
    data = overhead.measure(update_phase.QUICK["quick"], 1, 1)
    text = overhead.report(data, tmp_path)
    assert text == overhead.report(json.loads(json.dumps(data)), tmp_path) == (tmp_path / "summary.md").read_text()
    assert [line.split(" | ")[0] for line in text.splitlines()[-4:]] == [f"| {name}" for name in overhead.CONTROL]
    data["seconds"] = {"off": [[2.0, 2.0], [2.0, 2.0]], "es_pid, clip": [[3.0, 3.0], [3.0, 3.0]]}
    assert overhead.report(data, tmp_path).endswith("| es_pid, clip | 3.000 | 1.5000 | 1.5000 ± 0.0000 |\n")
