"""The reproduction of the paper's claims: its arms plan, its rules judge, and its page is made from data."""

import dataclasses
import json
import sys
from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from launching import ROOT
from smollm_data import in_smollm_folder  # noqa: F401, for pytest


sys.path[:0] = [str(ROOT / "experiments"), str(ROOT / "benchmarks")]

import arms  # noqa: E402
import arms_table as tables  # noqa: E402
import claims  # noqa: E402
import following  # noqa: E402
import report  # noqa: E402
import run as runner  # noqa: E402


MODELS = {name: arms.Model.of(name) for name in arms.MODELS}
ARMS = [(name, arm) for name, model in MODELS.items() for arm in model.arms]


def made_run(arm, seed, at_1=0.5, at_max=0.9, reward=0.0, **changes):
    """A line of the data with 20 rollouts."""
    series = {"target": [0.3] * 20, "entropy": [0.3] * 20, "entropy_se": [0.01] * 20, "control": [None] * 20}
    series |= {"reward": [reward] * 20, "completion_tokens": [6.0] * 20}
    scores = {title: {"1": at_1, "8": 0.7, "64": at_max} for title in ("3 numbers", "4 numbers")}
    versions = {"torch": "2", "transformers": "5", "trl": "1"}
    whole = {"rollouts": 20, "failure": None, "hours": 0.1, "on_gpu": False, "hardware": "CPU", "versions": versions}
    whole |= {"samples": 64, "pass@k": scores}
    digest = MODELS["lab"].digest_of(arm) if arm in MODELS["lab"].arms else ""
    return {"arm": arm, "seed": seed, "recipe": digest, **whole, **series, **changes}


def by_arm(runs):
    found = {}
    for each in runs:
        found.setdefault(each["arm"], {})[each["seed"]] = each
    return found


def claim_of(text):
    (found,) = [claim for claim in claims.CLAIMS if claim.text.startswith(text)]
    return found


# --- the arms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "arm"), ARMS)
def test_every_arm_is_planned(name, arm, tmp_path, in_smollm_folder):  # noqa: F811
    model = MODELS[name]
    recipe = model.recipe_of(arm)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert recipe["max_steps"] == 0 or arms.check(path)[0].rollouts in (24, 72, 80, 320, 640)
    assert arms.core_seconds(model, recipe, path) > 0


def test_arms_figures_and_claims_fit_together():
    for name, model in MODELS.items():
        files = {path.stem for path in (ROOT / "experiments" / "arms" / name).glob("*.yaml")}
        assert files == set(model.arms)
    assert set(sum(arms.FIGURES.values(), [])) == set(MODELS["lab"].arms) >= set(MODELS["smollm"].arms)
    for claim in claims.CLAIMS:
        assert set(claim.effect.arms) <= set(arms.FIGURES[claim.figure]), claim.text
    assert {claim.figure for claim in claims.CLAIMS} == set(arms.FIGURES) == set(report.TITLES)
    assert all(count == 1 for count in Counter(claim.text for claim in claims.CLAIMS).values())


def test_an_arm_differs_from_another_by_what_its_file_says():
    stable, early = (MODELS["lab"].recipe_of(arm) for arm in ("stable", "stable_early"))
    assert {**early, "max_steps": stable["max_steps"]} == stable
    assert "entropy_schedule" not in MODELS["lab"].recipe_of("anneal_first")


def test_data_of_another_recipe_or_evaluation_do_not_count():
    lab = MODELS["lab"]
    digests = {arm: lab.digest_of(arm) for arm in lab.arms}
    assert len(set(digests.values())) == len(digests)
    assert (
        dataclasses.replace(lab, every={**lab.every, "output_dir": "x", "save_steps": 1}).digest_of("stable")
        == (digests["stable"])
    )
    for field, value in (("every", {**lab.every, "beta": 0.1}), ("evaluation", {**lab.evaluation, "n": 8})):
        assert dataclasses.replace(lab, **{field: value}).digest_of("stable") != digests["stable"]


# --- the rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ([0.02, 0.03, 0.04], claims.HELD),
        ([-0.02, -0.03, -0.04], claims.NOT_HELD),
        ([0.02, -0.03, 0.01], claims.NOT_HELD),
        ([0.0, 0.0, 0.0], claims.NOT_HELD),
        ([0.03], claims.NOT_MEASURED),
        ([], claims.NOT_MEASURED),
    ],
)
def test_a_difference(gains, word):
    claim = claim_of("Annealing after entropy held by the bonus surpasses it.")
    runs = [made_run("stable", seed, at_1=0.5) for seed in range(3)]
    runs += [made_run("stable_anneal", seed, at_1=0.5 + gain) for seed, gain in enumerate(gains)]
    found = claims.judge(claim, by_arm(runs))
    assert found.word == word and list(found.effects.values()) == pytest.approx(gains)
    assert (found.interval is None) == (word == claims.NOT_MEASURED)


def test_a_sign_turns_the_verdict_and_either_sign_holds_a_mere_difference():
    for claim in claims.CLAIMS:
        effect = claims.Effect(("a",), "e", lambda runs: runs["a"]["pass@k"]["3 numbers"]["1"])
        for side in (-1, 1):
            runs = by_arm(made_run("a", seed, at_1=side * (1 + seed)) for seed in range(3))
            found = claims.judge(claims.Claim(claim.figure, claim.text, effect, claim.sign), runs)
            assert (found.word == claims.HELD) == (claim.sign in (side, 0))


def test_seeds_are_paired_and_a_broken_run_does_not_count():
    claim = claim_of("Annealing after entropy held by the bonus surpasses it.")
    runs = [made_run("stable", seed, at_1=0.1 * seed) for seed in range(4)]
    # the gain is the same in every seed, so its interval has no width
    runs += [made_run("stable_anneal", seed, at_1=0.1 * seed + 0.01) for seed in (1, 2)]
    runs += [made_run("stable_anneal", 3, failure="the policy is broken", **{"pass@k": None})]
    found = claims.judge(claim, by_arm(runs))
    assert found.word == claims.HELD and set(found.effects) == {1, 2}
    assert (found.interval.low, found.interval.high) == pytest.approx((0.01, 0.01))


def test_the_early_reward_is_that_of_early_rollouts():
    rewards = [1.0] * 2 + [0.5] * 4 + [1.0] * 14
    run = made_run("a", 0)
    assert claims.over("reward", 0.1, 0.3).of({**run, "reward": rewards}) == 0.5
    assert claims.over("reward", 0.95, 1.0).of({**run, "reward": [0.0] * 19 + [0.7]}) == 0.7


def test_a_run_that_did_not_follow_its_target_says_nothing_about_held_entropy():
    claim = claim_of("Annealing after entropy held by the bonus surpasses it.")
    strayed = {"entropy": [0.3 + 4.1 * 0.01] * 20}  # the target is 0.3, and the noise 0.01
    runs = [made_run("stable", seed, **(strayed if seed else {})) for seed in range(3)]
    runs += [made_run("stable_anneal", seed, at_1=0.6) for seed in range(3)]
    found = claims.judge(claim, by_arm(runs))
    assert found.word == claims.NOT_MEASURED and list(found.effects) == [0]
    assert claims.judge(claim, by_arm(runs[1:])).word == claims.NOT_MEASURABLE
    near = [made_run("stable", seed, entropy=[0.3 + 3.9 * 0.01] * 20) for seed in range(3)]
    assert claims.judge(claim, by_arm([*near, *runs[3:]])).word == claims.HELD


def test_the_table_of_the_arms():
    # off by 0.1 before the settling and by 0.03 after it; a rollout's standard error is 0.02
    entropy = [0.4] * following.SETTLING + [0.33] * (20 - following.SETTLING)
    held = made_run("stable", 0, at_1=0.5, at_max=0.9, entropy=entropy, entropy_se=[0.02] * 20)
    other = {**held, "entropy": [0.32] * 20}
    runs = {"stable": {0: held, 1: {**held, "failure": "broke"}}, "anneal_first": {0: {**held, "target": [None] * 20}}}
    lines = tables.arms_table(["stable", "anneal_first", "cosine"], runs).splitlines()
    assert lines[2:] == [
        "| `stable` | 1 | 0.030 | 0.020 | 1.50 | 1.50 | 0.500 | 0.900 |",
        "| `anneal_first` | 1 | - | - | - | - | 0.500 | 0.900 |",
    ]
    two = tables.arms_table(["stable"], {"stable": {0: held, 1: other}}).splitlines()
    cells = ["`stable`", "2", "0.025 ± 0.007", "0.020 ± 0.000", *["1.25 ± 0.35"] * 2, "0.500 ± 0.000", "0.900 ± 0.000"]
    assert two[2] == f"| {' | '.join(cells)} |"
    assert tables.arms_table(["cosine"], runs) == ""


def test_the_best_level_per_k():
    best = {"ratio_05": (0.1, 0.9), "ratio_10": (0.2, 0.8), "stable_anneal": (0.3, 0.7), "ratio_40": (0.4, 0.6)}
    runs = by_arm(made_run(arm, seed, *values) for arm, values in best.items() for seed in range(3))
    found = claims.judge(claim_of("The best anneal is shorter"), runs)
    assert found.word == claims.HELD and list(found.effects.values()) == pytest.approx([0.05 - 0.4] * 3)
    constants = {"constant_lowest": 0.1, "constant_low": 0.2, "stable": 0.3, "constant_high": 0.45}
    runs = by_arm(
        made_run(arm, seed, at_1=1.0 - level, at_max=level, target=[level] * 20, entropy=[level] * 20)
        for arm, level in constants.items()
        for seed in range(2)
    )
    found = claims.judge(claim_of("The best constant is higher"), runs)
    assert found.word == claims.HELD and list(found.effects.values()) == pytest.approx([0.45 - 0.1] * 2)
    turned = by_arm(made_run(arm, seed, *values[::-1]) for arm, values in best.items() for seed in range(3))
    assert claims.judge(claim_of("The best anneal is shorter"), turned).word == claims.NOT_HELD


def test_the_gain_of_a_gain_by_hand():
    values = {"quality_anneal": 0.9, "stable_anneal": 0.5, "quality_stable": 0.6, "stable": 0.4}
    runs = by_arm(made_run(arm, seed, value) for arm, value in values.items() for seed in range(2))
    found = claims.judge(claim_of("The anneal makes the gain of high-quality"), runs)
    assert list(found.effects.values()) == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 12])
def test_chance_holds_five_percent(seeds):
    effects = np.random.default_rng(1).standard_normal((4000, seeds)).tolist()
    assert np.mean([claims.interval_of(each).low > 0 for each in effects]) == pytest.approx(0.05, abs=0.012)


def test_an_interval_by_hand():
    found = claims.interval_of([1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - 2.920 / 3**0.5, 2.0 + 2.920 / 3**0.5))


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_committed_page_is_made_from_its_data(tmp_path):
    for path in arms.RESULTS.glob("*.jsonl"):
        (tmp_path / path.name).symlink_to(path)
    assert report.report(tmp_path) == report.PAGE.read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == {path.name for path in arms.RESULTS.glob("*.png")}


def test_a_page_without_data(tmp_path):
    text = report.report(tmp_path)
    words = (claims.HELD, claims.NOT_HELD)
    assert not any(f"| **{word}** |" in text for word in words) and list(tmp_path.iterdir()) == []
    assert text.count(f"**{claims.NOT_MEASURABLE}** |") == len(claims.OUT_OF_REACH)
    rules = len({claim.rule for claim in claims.CLAIMS})
    count = f"{len(claims.CLAIMS)} claims with {rules} different rules"
    assert f"**{count}: {len(claims.CLAIMS)} {claims.NOT_MEASURED}.**" in text


def test_a_page_with_all_runs_but_one_that_broke(tmp_path):
    rng = np.random.default_rng(0)
    runs = [made_run(arm, seed, *rng.uniform(0, 1, 2)) for arm in MODELS["lab"].arms for seed in range(2)]
    runs.append(made_run("cosine", 2, failure="the policy is broken", **{"pass@k": None}))
    runs.append(made_run("cosine", 0, recipe="another", **{"pass@k": None}))
    (tmp_path / "lab.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    text = report.report(tmp_path)
    lab = text.partition("## SmolLM2")[0]
    assert f"| **{claims.NOT_MEASURED}** |" not in lab and f"| **{claims.NOT_HELD}** |" in lab
    assert "These broke and do not count: `cosine` (seed 2)." in lab
    assert "Runs of earlier recipes in the data, which do not count: 1." in lab
    figures = {f"lab_{figure}.png" for figure in arms.FIGURES}
    assert {path.name for path in tmp_path.glob("*.png")} == figures
    assert all(f"(../results/reproduction/{name})" in lab for name in figures)


# --- the runs ---------------------------------------------------------------------------------------------------------


def test_the_first_seed_comes_first_and_figures_share_arms():
    lab = MODELS["lab"]
    jobs = list(runner.jobs_of(lab, ["fig2", "fig3"], 2))
    assert len(jobs) == len(set(jobs)) == 2 * 10 and [seed for _, seed, _ in jobs] == [0] * 10 + [1] * 10
    assert set(lab.arms_of([])) == set(lab.arms)
    with pytest.raises(ValueError, match="`FIGURE` must be one of fig2, .*, got 'fig1': set one of these"):
        lab.arms_of(["fig2", "fig1"])


def test_the_estimate_leaves_out_what_is_done_and_learns_from_it():
    jobs = runner.jobs_of(MODELS["lab"], ["fig3"], 2)
    whole = runner.hours_of(jobs, {})
    done = {key: {"hours": 100.0, "on_gpu": False} for key in jobs if key[1] == 0}
    assert 0.1 < whole < 2.0 and runner.hours_of(jobs, done) == pytest.approx(400.0)
    assert runner.hours_of(jobs, dict.fromkeys(jobs, {"hours": 1.0, "on_gpu": False})) == 0.0
    # the time of a run on a GPU says nothing about one on a CPU
    done = {key: {"hours": 100.0, "on_gpu": True} for key in jobs if key[1] == 0}
    assert runner.hours_of(jobs, done) == pytest.approx(whole / 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_a_run(capsys):
    with pytest.raises(SystemExit) as ended:
        runner.main(["fig2", "--gpu"])
    assert ended.value.code == 2 and "`--gpu` needs a GPU, and torch sees none" in capsys.readouterr().err


def test_a_run_on_a_gpu_is_the_same_run_of_the_same_recipe():
    (cpu, gpu) = (runner.jobs_of(MODELS["smollm"], ["fig3"], 1, on_gpu) for on_gpu in (False, True))
    assert cpu.keys() == gpu.keys()
    for key, job in gpu.items():
        assert MODELS["smollm"].recipe_of(job.arm, cpu[key].changes)["use_cpu"]
        assert not MODELS["smollm"].recipe_of(job.arm, job.changes)["use_cpu"]


@pytest.mark.slow
def test_a_short_run_of_an_arm(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "LOGS", tmp_path)
    few = {**MODELS["lab"].evaluation, "problems": 4, "n": 2, "k": [1, 2]}
    small = dataclasses.replace(MODELS["lab"], evaluation=few)
    changes = {"steps_per_generation": 1, "per_device_train_batch_size": 16, "max_steps": 2}
    done = runner.run(runner.Job(small, "stable_anneal", 1, changes))
    assert done["recipe"] == small.digest_of("stable_anneal")
    assert (done["arm"], done["seed"], done["rollouts"], done["failure"]) == ("stable_anneal", 1, 2, None)
    assert all(len(done[name]) == 2 for name in runner.SERIES) and done["target"] == [0.3, 0.05]
    assert set(done["pass@k"]) == {"3 numbers", "4 numbers"} and set(done["pass@k"]["3 numbers"]) == {"1", "2"}
    base = runner.run(runner.Job(small, "base", 1, {}))
    assert base["rollouts"] == 0 and base["pass@k"]["3 numbers"]["1"] > 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["lab-base-1.log", "lab-stable_anneal-1.log"]
