"""A configuration takes the parts of a loop as objects as well as mappings, and can still be written down."""

import json
import pickle

import pytest
from own_loop_parts import OwnController, falling

from es_trl import (
    CallableSchedule,
    ClipHighActuator,
    ConstantSchedule,
    EntropyBonusActuator,
    ESGRPOTrainer,
    PIDController,
    StableAnnealSchedule,
    Stage,
)
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


SCHEDULE, BONUS = StableAnnealSchedule(0.4, 0.05), EntropyBonusActuator(-0.5, 0.5)
OBJECTS = {"entropy_schedule": SCHEDULE, "entropy_controller": PIDController(kp=2.0), "entropy_actuator": BONUS}
MAPPINGS = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.4, "end": 0.05},
    "entropy_controller": {"kind": "pid", "kp": 2.0},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
}


def test_objects_are_what_their_mappings_make(lab_args):
    assert lab_args(**OBJECTS).build_parts() == lab_args(**MAPPINGS).build_parts()
    mixed = lab_args(entropy_schedule=SCHEDULE, entropy_actuator=[ClipHighActuator(), MAPPINGS["entropy_actuator"]])
    assert mixed.build_parts()[2] == [ClipHighActuator(), BONUS]
    stages = [Stage(0.25, num_generations=2), {"start": "onset", "num_generations": 8}]
    assert lab_args(curriculum=stages).build_stages() == [stages[0], Stage("onset", num_generations=8)]


def test_a_function_of_progress_is_a_schedule(lab_args):
    schedule = lab_args(entropy_schedule=falling).build_parts()[0]
    assert schedule == CallableSchedule(falling) and schedule(1.0) == 0.25


def test_each_loop_has_parts_of_its_own(lab_args):
    args = lab_args(**OBJECTS)
    first, second = args.build_parts()[1], args.build_parts()[1]
    first.begin(0.0, -1.0, 1.0)
    before = first.state_dict()
    second.begin(0.0, -1.0, 1.0)
    assert second.update(0.5, 0.1) != 0.0 and first.state_dict() == before


def test_two_trainers_of_one_configuration_do_not_share_a_controller(lab_args):
    args = lab_args(**OBJECTS)
    trainers = [
        ESGRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=countdown_dataset(64, seed=1)) for _ in range(2)
    ]
    one, other = (trainer.entropy_scheduler.loop.controller for trainer in trainers)
    assert one is not other and one is not args.entropy_controller


@pytest.mark.parametrize("blocks", [OBJECTS, MAPPINGS], ids=["objects", "mappings"])
def test_it_can_be_written_down(blocks, lab_args):
    args = lab_args(**blocks, curriculum=[Stage("onset", num_generations=8)])
    written = json.loads(args.to_json_string())
    assert written["entropy_schedule"] == {
        **MAPPINGS["entropy_schedule"], "ratio": 0.1, "shape": "linear", "relative": False,
    }  # fmt: skip
    assert written["entropy_actuator"] == MAPPINGS["entropy_actuator"]
    assert written["curriculum"][0]["num_generations"] == 8
    assert "'kind': 'pid'" in args.to_sanitized_dict()["entropy_controller"] and "target" in str(args)
    again = lab_args(**{name: written[name] for name in (*blocks, "curriculum")})
    assert again.build_parts() == args.build_parts() and again.build_stages() == args.build_stages()
    assert pickle.loads(pickle.dumps(args)).build_parts() == args.build_parts()


def test_parts_without_a_kind_are_written_as_text(lab_args):
    args = lab_args(entropy_schedule=falling, entropy_controller=OwnController())
    written = args.to_dict()
    assert written["entropy_schedule"].startswith("CallableSchedule(function=falling")
    assert written["entropy_controller"].startswith("OwnController(kp=")
    assert pickle.loads(pickle.dumps(args)).build_parts()[0](0.0) == 0.5


def test_a_run_with_objects_is_that_with_mappings_and_resumes_from_it(lab_trainer, tmp_path, capsys):
    run = {"save_strategy": "steps", "save_steps": 4, "max_steps": 8}
    entropies = []
    for name, blocks in (("objects", OBJECTS), ("mappings", MAPPINGS)):
        trainer = lab_trainer(**blocks, **run, output_dir=str(tmp_path / name))
        trainer.train()
        entropies.append([(r["entropy"], r["control"]) for r in trainer.history.records])
    assert entropies[0] == entropies[1]
    again = lab_trainer(**OBJECTS, **run, output_dir=str(tmp_path / "again"))
    again.train(resume_from_checkpoint=str(tmp_path / "mappings" / "checkpoint-4"))
    assert [(r["entropy"], r["control"]) for r in again.history.records] == entropies[0]
    assert "changed: " not in capsys.readouterr().out
    other = lab_trainer(**{**OBJECTS, "entropy_actuator": EntropyBonusActuator(-0.5, 0.4)}, **run)
    other.train(resume_from_checkpoint=str(tmp_path / "mappings" / "checkpoint-4"))
    assert "changed: actuators was" in capsys.readouterr().out
    assert "PIDController(kp=2.0" in (tmp_path / "objects" / "README.md").read_text()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"entropy_schedule": PIDController()}, "the schedule must be a Schedule or a function .*, got PIDController"),
        ({"entropy_schedule": ConstantSchedule}, "`entropy_schedule` must be .* or an object, got <class .*Constant"),
        ({"entropy_schedule": SCHEDULE, "entropy_controller": PIDController}, "or an object, got <class .*: set PIDCo"),
        (
            {"entropy_schedule": SCHEDULE, "entropy_controller": BONUS},
            "the controller EntropyBonusActuator must define",
        ),
        ({"entropy_schedule": SCHEDULE, "entropy_actuator": SCHEDULE}, "the actuator StableAnnealSchedule must define"),
        ({"entropy_schedule": SCHEDULE, "entropy_actuator": [BONUS, 3]}, "`entropy_actuator` must be .* got 3: set"),
        ({"curriculum": [SCHEDULE]}, "`curriculum` must have a mapping for entry 1, got StableAnnealSchedule"),
        ({"curriculum": Stage("onset")}, "`curriculum` must be a list of stages, got Stage"),
        (
            {"entropy_schedule": lambda progress: 0.4},
            "must be an object that can be pickled, because the configuration",
        ),
    ],
)
def test_wrong_objects_are_refused(blocks, message, lab_args):
    with pytest.raises(ValueError, match=message):
        lab_args(**blocks)


def test_blocks_that_are_set_afterwards_count(lab_args):
    args = lab_args()
    assert args.build_parts() is None
    args.entropy_schedule, args.curriculum = {"kind": "constant", "target": 0.4}, [{"start": 0.5}]
    schedule, controller, actuators = args.build_parts()
    assert schedule == ConstantSchedule(0.4) and type(controller).__name__ == "SelfTunedPIDController"
    assert actuators == [EntropyBonusActuator()] and args.build_stages() == [Stage(0.5)]
