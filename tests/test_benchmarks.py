import importlib
import json
import math
import sys
from pathlib import Path
from statistics import mean

import pytest

from es_trl.tracking.history import read_history


ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import control  # noqa: E402
import control_report  # noqa: E402
import curriculum  # noqa: E402
import methods  # noqa: E402
import methods_report  # noqa: E402


def made_run(entropy, schedule="constant", failure=None, **changes):
    run = {"condition": "reference", "method": "no control", "schedule": schedule, "seed": 0, "rollouts": 100}
    entropies = [entropy(rollout) for rollout in range(100 if failure is None else 20)]
    noise = [0.01] * len(entropies)
    return {**run, "failure": failure, "entropy": entropies, "entropy_se": noise, **changes}


def test_error_and_floor_by_hand():
    run = made_run(lambda t: 0.35 + (0.03 if t % 2 else -0.04))
    rows = control_report.segments("constant", 100)["stable"]
    assert rows == range(15, 100)
    # 43 rollouts 0.03 above and 42 rollouts 0.04 below
    assert control_report.error_over(run, rows) == pytest.approx(((43 * 0.03**2 + 42 * 0.04**2) / 85) ** 0.5)
    assert control_report.floor_over(run, rows) == pytest.approx(0.01)


def test_stages_of_each_schedule():
    assert control_report.segments("cosine", 100) == {"anneal": range(15, 100)}
    assert control_report.segments("stable_anneal", 100) == {"stable": range(15, 75), "anneal": range(75, 100)}


def test_settling_and_overshoot_by_hand():
    run = made_run(lambda t: max(0.35 + 0.01 * (10 - t), 0.29))
    # from 0.45 down by 0.01 per rollout to 0.29: the mean of rollouts 8 to 12 is on target
    assert control_report.settling(run) == 8
    assert control_report.overshoot(run) == pytest.approx(0.06)
    assert control_report.settling(made_run(lambda t: 0.6)) is None


@pytest.mark.parametrize("schedule", list(control_report.SCHEDULES))
def test_a_run_that_broke_is_reported(schedule):
    broken = made_run(lambda t: 0.4, schedule, failure="the policy is broken", control=[0.0] * 20, reward=[0.0] * 20)
    text = control_report.compare([{**broken, "method": "some, entropy_bonus"}], schedule)
    assert "broke in 1 of 1" in text
    assert math.isinf(control_report.error_over(broken, range(15, 100)))


@pytest.mark.slow
def test_the_summary_is_made_from_the_data(tmp_path):
    results = ROOT / "results" / "control"
    runs = control_report.load(results / "runs.jsonl")
    methods = [*control.best_methods(runs, control.ROLLOUTS), *control.METHODS]
    control_report.report(runs, tmp_path, list(control.UNCONTROLLED), methods, list(control.CONDITIONS))
    assert (tmp_path / "summary.md").read_text() == (results / "summary.md").read_text()


def test_a_short_run_is_reported_too(tmp_path):
    short = {}
    for key, run in control_report.load(ROOT / "results" / "control" / "runs.jsonl").items():
        series = {name: run[name][:20] for name in ("entropy", "entropy_se", "control", "reward")}
        if run["condition"] == "reference" and run["seed"] == 0:
            short[(*key[:4], 20)] = {**run, **series, "rollouts": 20}
    text = control_report.report(short, tmp_path, list(control.UNCONTROLLED), list(control.METHODS), ["reference"])
    assert text.startswith("# Control of the Countdown lab's entropy: 20 rollouts per run")
    assert "| method | constant, stable | cosine, anneal | stable_anneal, anneal |" in text


def test_the_data_hold_what_the_summary_says():
    lines = (ROOT / "results" / "control" / "runs.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    lengths = {(len(run["entropy"]), run["rollouts"]) for run in runs if run["failure"] is None}
    assert lengths == {(100, 100)}


def test_the_curriculums_summary_is_made_from_its_data():
    summary = (ROOT / "results" / "countdown_curriculum" / "summary.md").read_text()
    assert curriculum.summarize() == summary


def method_run(method, schedule, entropy, clamped=None, failure=None, seed=0):
    series = {"entropy": [entropy] * 100, "clamped_entropy": [clamped] * 100, "reward": [0.5] * 100}
    scores = None if failure else {"pass@1": 0.7 + 0.1 * seed, "pass@8": 0.8, "pass@64": 0.9}
    run = {"method": method, "schedule": schedule, "seed": seed, "rollouts": 100, "failure": failure}
    return {**run, **series, "scores": scores, "versions": {"torch": "2"}}


def test_errors_of_the_methods_by_hand():
    runs = [
        method_run("grpo", "none", 0.25),
        method_run("aent", "constant", 0.45, clamped=0.3),
        method_run("aent", "constant", 0.45, clamped=0.4, seed=1),
        method_run("es", "constant", 0.3, failure="the policy is broken"),
    ]
    keyed = {tuple(run[n] for n in ("method", "schedule", "seed", "rollouts")): run for run in runs}
    # 0.35 nats on constant: the clamped entropy is what is held; grpo's run is compared with every schedule
    rows = methods_report.rows_of(keyed, ["grpo", "aent", "es"], "constant")
    assert [row[1] for row in rows[1:]] == ["0.100", "0.050 ± 0.000", "broke in 1 of 1"]
    assert rows[2][4] == "0.750 ± 0.071" and rows[3][4] == "-"
    assert methods_report.in_short(keyed, {"grpo": 2.0, "aent": 3.0}, ["grpo", "aent"])[2][-1] == "1.50"


def test_the_methods_summary_is_made_from_its_data(tmp_path):
    results = ROOT / "results" / "methods"
    runs = methods_report.load(results / "runs.jsonl")
    wanted = methods.jobs(methods.SEEDS, methods.ROLLOUTS)
    assert set(runs) <= set(wanted)
    assert {key[:2] for key in runs} == {job[:2] for job in wanted}  # some with one seed
    times = json.loads((results / "times.json").read_text())
    summary = methods_report.report(runs, times, list(methods.METHODS), tmp_path)
    assert summary == (results / "summary.md").read_text()
    clips = methods_report.load(results / "clips.jsonl")
    assert set(clips) <= set(methods.clip_jobs()) and {key[0] for key in clips} == set(methods.CLIPS)
    assert methods_report.clips_report(clips, list(methods.CLIPS), tmp_path) == (results / "clips.md").read_text()


def test_the_clamped_entropys_summary_is_made_from_its_data():
    import clamped_entropy

    assert clamped_entropy.report() == (clamped_entropy.RESULTS / "summary.md").read_text()


def test_the_long_runs_summary_is_made_from_its_data():
    import countdown_long

    assert countdown_long.summarize() == (countdown_long.RESULTS / "summary.md").read_text()


def test_the_plants_summary_is_made_from_its_data():
    import plant

    assert plant.summarize() == (plant.RESULTS / "summary.md").read_text()


@pytest.mark.parametrize("name", ["update_sensor", "early_exit"])
def test_a_small_summary_is_made_from_its_data(name):
    script = importlib.import_module(name)
    committed = (script.RESULTS / "summary.md").read_text()
    assert script.report() == committed and len(committed.splitlines()) > 5


def test_the_authoritys_summary_is_made_from_its_data():
    import authority_report

    assert authority_report.report() == (authority_report.RESULTS / "summary.md").read_text()


def test_the_directions_table_is_made_from_its_data():
    import direction

    assert direction.report() == (direction.RESULTS / "direction.md").read_text()


def test_the_page_of_the_lab_has_the_data_of_base_and_demo():
    page = (ROOT / "docs" / "results" / "lab.md").read_text()
    for name, passes in json.loads((ROOT / "results" / "lab" / "base.json").read_text()).items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {name}")]
        assert row.endswith("| " + " | ".join(f"{passes[k]:.3f}" for k in methods_report.PASSES) + " |")
    records = read_history(ROOT / "results" / "countdown_es" / "es_history.jsonl")
    stable = [record for record in records[control_report.SETTLING :] if record["stage"] == "stable"]
    anneal = [record for record in records if record["stage"] == "anneal"]
    for field in ("error", "entropy_se"):
        values = [control_report.rms([record[field] for record in phase]) for phase in (stable, anneal)]
        assert f"| {values[0]:.3f} | {values[1]:.3f} |" in page
    assert f"from {records[0]['entropy']:.3f} to {records[-1]['entropy']:.3f} nats" in page
    first, last = [mean(record["reward"] for record in part) for part in (records[:10], records[-10:])]
    assert f"from {first:.2f} to {last:.2f}" in page


def test_the_findings_have_the_ratios_of_the_data():
    findings = (ROOT / "results" / "control" / "findings.md").read_text()
    runs = control_report.load(ROOT / "results" / "control" / "runs.jsonl")

    def error(condition, method, schedule, phase):
        (run,) = [run for key, run in runs.items() if key[:4] == (condition, method, schedule, 0)]
        rows = control_report.segments(schedule, 100)[phase]
        return control_report.error_over(run, rows), control_report.floor_over(run, rows)

    own, first, trl = "self-tuned, entropy_bonus", "Algorithm 1, entropy_bonus, step 0.001", "TRL adaptive, step 0.005"
    for condition in list(control.CONDITIONS)[1:]:
        (constant, floor), (anneal, _) = (
            error(condition, own, *where) for where in (("constant", "stable"), ("stable_anneal", "anneal"))
        )
        ratios = [constant / error(condition, method, "constant", "stable")[0] for method in (first, trl)]
        ratios += [anneal / error(condition, trl, "stable_anneal", "anneal")[0], constant / floor]
        assert f"| {condition} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |" in findings.replace("**", "")


def test_the_direction_is_that_of_the_entropy():
    import direction
    import torch

    logits = torch.tensor([[0.3, -1.2, 2.0, 0.1]], dtype=torch.float64)
    probabilities = logits.softmax(-1)

    def entropy(values):
        return -(values.softmax(-1) * values.log_softmax(-1)).sum().item()

    for token in range(4):
        step = torch.nn.functional.one_hot(torch.tensor([token]), 4) - probabilities
        change = (entropy(logits + 1e-6 * step) - entropy(logits - 1e-6 * step)) / 2e-6
        assert direction.directions(logits, torch.tensor([token])).item() == pytest.approx(-change, abs=1e-8)
