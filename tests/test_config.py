import json

import pytest

from es_trl import (
    ClipActuator,
    ClipHighActuator,
    EntropyBonusActuator,
    ESGRPOConfig,
    PIDController,
    PiecewiseSchedule,
    SelfTunedPIDController,
    SignStepController,
    StableAnnealSchedule,
)
from es_trl.config.parser import build_part


STABLE = {"kind": "stable_anneal", "target": 0.4, "end": 0.05}


def test_no_block_no_parts(lab_args):
    assert lab_args().build_parts() is None


def test_a_schedule_alone_is_held_without_gains(lab_args):
    schedule, controller, actuators = lab_args(entropy_schedule=STABLE).build_parts()
    assert schedule == StableAnnealSchedule(target=0.4, end=0.05, ratio=0.1)
    assert controller == SelfTunedPIDController() and actuators == [EntropyBonusActuator(-1.0, 1.0)]


def test_the_papers_method_by_its_kinds(lab_args):
    args = lab_args(entropy_schedule=STABLE, entropy_controller="sign_step", entropy_actuator="clip_high")
    assert args.build_parts()[1:] == (SignStepController(delta=0.005, window=5), [ClipHighActuator(0.10, 0.40)])


@pytest.mark.parametrize("as_text", [False, True])
def test_a_list_of_actuators_is_a_chain(as_text, lab_args):
    blocks = ["clip_high", {"kind": "entropy_bonus", "low": -1, "high": 1}]
    args = lab_args(entropy_schedule=STABLE, entropy_actuator=json.dumps(blocks) if as_text else blocks)
    assert args.build_parts()[2] == [ClipHighActuator(), EntropyBonusActuator(-1.0, 1.0)]


def test_blocks_name_their_parts(lab_args):
    args = lab_args(
        entropy_schedule={"kind": "piecewise", "points": [[0, 0.4], [0.9, 0.4], [1, 0.1]]},
        entropy_controller={"kind": "pid", "kp": 2, "kff": "1e-1"},
        entropy_actuator=json.dumps({"kind": "clip", "low": -0.5, "high": 1.0}),
    )
    assert args.build_parts() == (
        PiecewiseSchedule([[0, 0.4], [0.9, 0.4], [1, 0.1]]),
        PIDController(kp=2.0, kff=0.1),
        [ClipActuator(-0.5, 1.0)],
    )


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"entropy_schedule": {"kind": "stable_aneal", "target": 0.4}}, "no kind 'stable_aneal', did you mean 'stabl"),
        ({"entropy_schedule": {**STABLE, "ration": 0.2}}, "no argument 'ration', did you mean 'ratio'"),
        ({"entropy_schedule": {"kind": "stable_anneal", "end": 0.1}}, "needs `target`: set it"),
        ({"entropy_schedule": {"kind": "constant", "target": -0.4}}, "target must be a finite number >= 0, got -0.4"),
        ({"entropy_schedule": {**STABLE, "ratio": 1.5}}, "`ratio` must be a finite number >= 0 and <= 1, got 1.5"),
        ({"entropy_schedule": {**STABLE, "ratio": -0.5}}, "`ratio` must be a finite number >= 0 and <= 1, got -0.5"),
        ({"entropy_schedule": {**STABLE, "target": "high"}}, "`target` must be a number, got 'high': set one"),
        ({"entropy_schedule": {**STABLE, "relative": "yes"}}, "`relative` must be true or false, got 'yes': set one"),
        ({"entropy_schedule": {"kind": ["constant"]}}, "no kind .'constant'."),
        ({"entropy_schedule": {"kind": "constant", 4: 0.4}}, "no argument 4: set only target, relative"),
        ({"entropy_schedule": {"kind": "constant", "target": None}}, "`target` must be a number, got None: set one"),
        ({"entropy_schedule": {"kind": "constant", "target": True}}, "`target` must be a number, got True"),
        ({"entropy_schedule": {"kind": "piecewise", "points": 3}}, "`points` must be at least two pairs .*got 3"),
        ({"entropy_schedule": {}}, "`entropy_schedule` must be a mapping with a `kind`, got {}: set it"),
        ({"entropy_schedule": []}, "must be a mapping with a `kind`, or an object, got .*: set constant"),
        ({"entropy_schedule": STABLE, "entropy_controller": ["pid"]}, "`entropy_controller` must be .*, or an object"),
        ({"entropy_schedule": STABLE, "entropy_actuator": ["clip", "bonus"]}, "`entropy_actuator` has no kind 'b"),
        ({"entropy_schedule": STABLE, "entropy_controller": {}}, "`entropy_controller` must be a mapping with a `k"),
        ({"entropy_schedule": STABLE, "entropy_actuator": []}, "`entropy_actuator` is an empty list: name at lea"),
        (
            {"entropy_schedule": STABLE, "entropy_actuator": "[clip,"},
            "`entropy_actuator` is not valid YAML",
        ),
        ({"entropy_schedule": STABLE, "entropy_controller": {"kind": "sign_step", "window": float("inf")}}, "whole n"),
        ({"entropy_schedule": {"kind": "constant", "target": 10**400}}, "`target` must be a number, got 1000"),
        ({"entropy_schedule": "constant"}, "`entropy_schedule` of kind constant needs `target`: set it"),
        ({"entropy_schedule": {"target": 0.4}}, "must be a mapping with a `kind`, got"),
        ({"entropy_controller": {"kind": "pid"}}, "`entropy_controller` is set but `entropy_schedule` is not"),
        ({"entropy_schedule": STABLE, "entropy_actuator": {"kind": "clip_high", "low": 0.4, "high": 0.1}},
         "`entropy_actuator` of kind clip_high: the bounds of ClipHighActuator must be .* got 0.4 and 0.1: set"),
        ({"entropy_schedule": STABLE, "entropy_controller": {"kind": "sign_step", "window": 2.5}},
         "`window` must be a whole number, got 2.5: set one"),
    ],
)  # fmt: skip
def test_refusals(blocks, message, lab_args):
    with pytest.raises(ValueError, match=message):
        lab_args(**blocks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_generations": 3}, "`num_generations` must divide the 16 completions of a rollout.*so that 3 divides"),
        ({"num_generations": 1}, "`num_generations` must be at least 2, because an advantage .*set it to 2 or more"),
        ({"num_generations": 0}, "`num_generations` must be a whole number >= 1, got 0: set 1 or more"),
        ({"gradient_accumulation_steps": 0}, "`gradient_accumulation_steps` must be a whole number >= 1, got 0"),
        ({"steps_per_generation": 1.5}, "`steps_per_generation` must be a whole number >= 1, got 1.5"),
        ({"per_device_train_batch_size": -1}, "`per_device_train_batch_size` must be a whole number >= 1, got -1"),
        ({"num_iterations": None}, "`num_iterations` must be a whole number >= 1, got None"),
        ({"generation_batch_size": 24}, "both set, but each follows from the other: leave one of them out"),
    ],
)
def test_geometry_refusals(changes, message, lab_args):
    with pytest.raises(ValueError, match=message):
        lab_args(**changes)


def test_kinds_have_defaults_for_all_that_can_have_one():
    assert build_part("entropy_controller", {"kind": "pid"}) == PIDController()
    assert build_part("entropy_actuator", {"kind": "clip"}) == ClipActuator()


def test_surface_is_small():
    from trl import GRPOConfig

    own = set(ESGRPOConfig.__dataclass_fields__) - set(GRPOConfig.__dataclass_fields__)
    blocks = {"entropy_schedule", "entropy_controller", "entropy_actuator", "curriculum"}
    assert own == {
        *blocks,
        "method",
        "goal_k",
        "entropy_sensor",
        "dynamic_sampling_tries",
        "early_generations",
        "early_pass_rates",
        "mask_uniform_prompts",
        "overlong_cache",
        "micro_batches",
        "max_tokens_per_micro_batch",
        "shared_prefixes",
        "eval_pass_at_k",
        "resume_with_changes",
    }
