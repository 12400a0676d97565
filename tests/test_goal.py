"""`goal_k` chooses what is left open of a schedule, by a rule that is monotone, and never what was given."""

import copy
import dataclasses

import pytest
from recipe_files import ROOT

from es_trl import StableAnnealSchedule
from es_trl.__main__ import main as cli
from es_trl.config.goal import rule_of_thumb
from es_trl.config.methods import STABLE_ANNEAL
from es_trl.recipe import RecipeParser
from es_trl.trainer.startup import describe_goal


COUNTDOWN = str(ROOT / "recipes" / "countdown_es.yaml")
OPEN = "leave out `goal_k`, or leave the `target` or the `ratio` of a stable_anneal schedule open"


def schedule_of(args):
    return args.build_parts()[0]


def test_the_rule_is_monotone_and_has_the_papers_ends():
    assert rule_of_thumb(1) == {"target": 0.3, "ratio": 0.2}
    assert rule_of_thumb(64) == rule_of_thumb(65) == rule_of_thumb(10**9) == {"target": 0.5, "ratio": 0.05}
    middle = {name: STABLE_ANNEAL[name] for name in ("target", "ratio")}
    assert rule_of_thumb(8) == pytest.approx(middle)  # the paper's advice
    targets, ratios = zip(*(rule_of_thumb(k).values() for k in range(1, 65)), strict=True)
    assert all(low < high for low, high in zip(targets, targets[1:], strict=False))
    assert all(high > low for high, low in zip(ratios, ratios[1:], strict=False))
    steps = [rule_of_thumb(2**power)["target"] for power in range(7)]
    assert [high - low for low, high in zip(steps, steps[1:], strict=False)] == pytest.approx([0.2 / 6] * 6)


@pytest.mark.parametrize("method", [None, "es", "es_pid"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, StableAnnealSchedule(0.5, 0.05, 0.05)),
        ({"entropy_schedule": "stable_anneal"}, StableAnnealSchedule(0.5, 0.05, 0.05)),
        ({"entropy_schedule": {"kind": "stable_anneal", "end": 0.1}}, StableAnnealSchedule(0.5, 0.1, 0.05)),
        ({"entropy_schedule": {"kind": "stable_anneal", "target": 0.7}}, StableAnnealSchedule(0.7, 0.05, 0.05)),
        ({"entropy_schedule": {"target": 0.7, "shape": "cosine"}}, StableAnnealSchedule(0.7, 0.05, 0.05, "cosine")),
        ({"entropy_schedule": {"ratio": 0.3}}, StableAnnealSchedule(0.5, 0.05, 0.3)),
        (
            {"entropy_schedule": {"target": 2.0, "relative": True}},
            StableAnnealSchedule(2.0, 0.05, 0.05, relative=True),
        ),
    ],
)
def test_it_fills_what_is_open_and_given_values_win(method, given, expected, lab_args):
    assert schedule_of(lab_args(goal_k=64, method=method, **given)) == expected


def test_another_methods_schedule_may_be_replaced_by_an_open_one(lab_args):
    open_one = {"kind": "stable_anneal"}
    assert schedule_of(lab_args(goal_k=1, method="entropic", entropy_schedule=open_one)).target == 0.3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entropy_schedule": {"kind": "stable_anneal", "target": 0.3, "ratio": 0.1}}, "has its `target` and `ratio`"),
        ({"entropy_schedule": {"kind": "constant", "target": 0.3}}, "is of kind constant"),
        ({"entropy_schedule": "cosine"}, "is of kind cosine"),
        ({"entropy_schedule": StableAnnealSchedule(0.4, 0.05)}, "`entropy_schedule` is "),
        ({"entropy_schedule": abs}, "`entropy_schedule` is "),
        ({"entropy_schedule": None}, "`entropy_schedule` is none"),
        ({"method": "es", "entropy_schedule": "none"}, "`entropy_schedule` is none"),
        ({"method": "es", "entropy_schedule": {"target": 0.3, "ratio": 0.1}}, "has its `target` and `ratio`"),
        *(({"method": name}, f"method {name} has a constant target") for name in ("aer", "aent", "entropic")),
        ({"method": "entrocraft"}, "method entrocraft has a linear target of its own"),
        ({"method": "aent", "entropy_schedule": {"target": 0.3}}, "method aent has a constant target of its own"),
        *(({"method": name}, f"method {name} has no target") for name in ("grpo", "dapo", "clip_cov")),
    ],
)
def test_it_is_refused_where_nothing_is_left(changes, reason, lab_args):
    with pytest.raises(ValueError) as refused:
        lab_args(goal_k=8, **changes)
    assert str(refused.value).startswith("`goal_k` 8 has nothing to choose, because ")
    assert reason in str(refused.value) and str(refused.value).endswith(OPEN)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8"])
def test_it_is_a_count(value, lab_args):
    with pytest.raises(ValueError, match=r"`goal_k` must be a whole number >= 1, got"):
        lab_args(goal_k=value)


def test_other_faults_keep_their_own_sentence(lab_args):
    with pytest.raises(ValueError, match="`method` must be a known name, got 'ess'"):
        lab_args(goal_k=8, method="ess")
    with pytest.raises(ValueError, match="`method` must be a known name, got 5"):
        lab_args(goal_k=8, method=5)
    with pytest.raises(ValueError, match="`entropy_schedule` is relative: give it a `target`"):
        lab_args(goal_k=8, entropy_schedule={"relative": True})
    with pytest.raises(ValueError, match="has no argument 'taget'"):
        lab_args(goal_k=8, entropy_schedule={"taget": 0.3})


def test_copies_and_saved_values_are_right(lab_args):
    args = lab_args(goal_k=64, method="es")
    saved = args.to_dict()
    assert saved["goal_k"] == 64
    assert saved["entropy_schedule"] == {**STABLE_ANNEAL, "target": 0.5, "ratio": 0.05, "shape": "linear"} | {
        "relative": False
    }
    assert copy.deepcopy(args).to_dict() == saved
    assert schedule_of(dataclasses.replace(args, seed=4, generation_batch_size=None)) == schedule_of(args)
    assert schedule_of(dataclasses.replace(lab_args(goal_k=1), generation_batch_size=None)).ratio == 0.2


def test_a_recipe_and_its_options(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"output_dir: {tmp_path}\nuse_cpu: true\nbf16: false\nmethod: es\ngoal_k: 64\n")
    parsed = RecipeParser().parse(["--config", str(recipe), "--entropy_schedule.target", "0.35"])
    assert schedule_of(parsed.training) == StableAnnealSchedule(0.35, 0.05, 0.05)
    # what is written beside the run is what was given, so that it chooses the same again
    assert parsed.given["goal_k"] == 64 and parsed.given["entropy_schedule"] == {"target": 0.35}
    assert describe_goal(parsed.training).startswith("goal_k 64: ratio 0.05: our rule of thumb")
    assert describe_goal(RecipeParser().parse(["--config", COUNTDOWN]).training) == ""
    with pytest.raises(ValueError, match="`entropy_schedule` is none"):
        RecipeParser().parse(["--config", str(recipe), "--entropy_schedule", "none"])


def test_a_plan_says_what_it_chose(capsys):
    options = ["--goal_k", "8", "--entropy_schedule", "{kind: stable_anneal, end: 0.05}"]
    assert cli(["plan", COUNTDOWN, *options]) == 0
    words = (
        "goal_k 8: target 0.4 nats and ratio 0.1: our rule of thumb, in the direction that one paper found (section "
        "4.2) on 7B models and mathematics; `python -m es_trl sweep` measures it on your model"
    )
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_run_says_it_and_resumes_like_its_spelled_out_schedule(lab_trainer, capsys):
    bonus = {"entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5}}
    lab_trainer(goal_k=1, max_steps=4, save_strategy="steps", save_steps=4, **bonus).train()
    assert "goal_k 1: target 0.3 nats and ratio 0.2" in capsys.readouterr().out
    spelled = {"kind": "stable_anneal", "target": 0.3, "end": 0.05, "ratio": 0.2}
    resumed = lab_trainer(entropy_schedule=spelled, max_steps=4, save_strategy="steps", save_steps=4, **bonus)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.was_finished and "changed:" not in capsys.readouterr().out
