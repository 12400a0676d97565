from dataclasses import dataclass

import numpy as np
import pytest
import torch
from wrong_configurations import is_one_sentence

from es_trl import ConstantSchedule, Curriculum, EntropyLoop, EntropyScheduler, RolloutCallback, Stage
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.sample_weight import SampleWeightActuator
from es_trl.control.base import Actuator, Controller
from es_trl.control.checks import as_actuators
from es_trl.control.pid import PIDController
from es_trl.control.schedules import as_schedule


class Steady(Controller):
    """A whole controller, of which the others below lack something."""

    control = 0.01

    def begin(self, initial, low, high):
        self.rollouts = 0

    def update(self, target, entropy, slope, noise):
        self.rollouts += 1
        return self.control

    def rebase(self, target, entropy, noise):
        pass

    def state_dict(self):
        return {"rollouts": self.rollouts}

    def load_state_dict(self, state):
        self.rollouts = state["rollouts"]


class Moves(Actuator):
    """An actuator that moves `name` to `value`."""

    low, high = -1.0, 1.0
    name, value = "epsilon_high", 0.2

    def settings(self, control, args):
        return {self.name: self.value}


@dataclass
class Lone:
    """A controller that is no subclass of ours, and has what the documentation names."""

    begin = Steady.begin
    update = Steady.update
    rebase = Steady.rebase
    state_dict = Steady.state_dict
    load_state_dict = Steady.load_state_dict


def made(base, **members):
    return type("Own", (base,), members)()


def lacking(name):
    return made(Steady, **{name: getattr(Controller, name)})


def anneals(**members):
    return made(object, **{"__call__": lambda self, progress: 0.5 - 0.4 * progress, **members})


HELD, BONUS = ConstantSchedule(0.5), EntropyBonusActuator()
WRONG = [
    *((HELD, lacking(name), BONUS, f"the controller Own must define {name}:") for name in
      ("begin", "update", "rebase", "state_dict", "load_state_dict")),
    (HELD, made(object, update=Steady.update), BONUS, "must define begin, rebase, state_dict, load_state_dict, gi"),
    (HELD, Lone(), BONUS, "the controller Lone must define gives_sign, knowledge, needs_target, take_over"),
    (HELD, made(Steady, update=lambda self, target, entropy: 0.0), BONUS, "Own.update must accept the arguments (targ"),
    (HELD, made(Steady, begin=lambda self: None), BONUS, "Own.begin must accept the arguments (initial, low, high)"),
    (HELD, "pid", BONUS, "the controller must be an object of a subclass of Controller, got 'pid'"),
    (HELD, {"kind": "pid"}, BONUS, "set `entropy_controller` in ESGRPOConfig"),
    (HELD, PIDController, BONUS, "give for example PIDController()"),
    (HELD, None, BONUS, "the controller must be an object"),
    (HELD, made(Steady, state_dict=lambda self: {"seen": torch.zeros(1)}), BONUS, "state_dict must return JSON values"),
    (HELD, made(Steady, state_dict=lambda self: {1: 2}), BONUS, "must return a dict whose keys are text"),
    (HELD, made(Steady, state_dict=lambda self: None), BONUS, "must return a dict whose keys are text, got None"),
    (HELD, Steady(), "clip_high", "the actuator must be an object, or a list of them, got 'clip_high'"),
    (HELD, Steady(), ["entropy_bonus"], "got 'entropy_bonus'"),
    (HELD, Steady(), {"kind": "clip_high"}, "set `entropy_actuator` in ESGRPOConfig"),
    (HELD, Steady(), EntropyBonusActuator, "give for example EntropyBonusActuator()"),
    (HELD, Steady(), made(object, low=0.0, high=1.0), "the actuator Own must define initial, settings, check"),
    (HELD, Steady(), [], "the chain of actuators must have at least one"),
    (HELD, Steady(), made(Moves, value=float("nan")), "Own.settings must return finite numbers, got nan"),
    (HELD, Steady(), made(Moves, settings=lambda self, control, args: None), "Own.settings must return a mapping"),
    ("constant", Steady(), BONUS, "to nats, got 'constant': give for example"),
    (None, Steady(), BONUS, "to nats, got None: give for example"),
    (lambda progress: -progress, Steady(), BONUS, "at progress 0.010 must be a finite number >= 0, got -0.01"),
    (lambda progress: None if progress > 0.5 else 0.4, Steady(), BONUS, "at progress 0.510 must be a finite"),
    (anneals(onset=0.5, relative=False, __call__=lambda self, progress: float("nan")), Steady(), BONUS, "got nan: set"),
    (anneals(onset=1.5, relative=False), Steady(), BONUS, "from 0 to 1, or None, got 1.5"),
    (anneals(onset="late"), Steady(), BONUS, "or None, got 'late'"),
    (anneals(onset=0.5, relative="yes"), Steady(), BONUS, "or false (nats), got 'yes'"),
    (anneals(relative=True, __call__=lambda self, progress: progress), Steady(), BONUS, "must be > 0 times the ent"),
]  # fmt: skip


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize(("schedule", "controller", "actuator", "words"), WRONG, ids=[words for *_, words in WRONG])
def test_what_a_part_lacks_is_said_when_the_trainer_is_built(schedule, controller, actuator, words, lab_trainer):
    with pytest.raises(ValueError) as refused:
        lab_trainer(callbacks=[EntropyScheduler(schedule, controller, actuator)])
    assert words in str(refused.value) and is_one_sentence(str(refused.value)), str(refused.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("epsilon_hihg", "got 'epsilon_hihg', did you mean 'epsilon_high'?"),
        ("learning_rate", "must name attributes of ESGRPOTrainer, got 'learning_rate'"),
    ],
)
def test_a_setting_that_the_trainer_does_not_have_is_refused_when_it_is_built(name, words, lab_trainer):
    with pytest.raises(ValueError) as refused:
        lab_trainer(callbacks=[EntropyScheduler(HELD, Steady(), made(Moves, name=name))])
    assert words in str(refused.value) and is_one_sentence(str(refused.value)), str(refused.value)


def begun(controller, lab_args, actuator=BONUS):
    scheduler = EntropyScheduler(HELD, controller, actuator)
    scheduler.prepare(lab_args())
    return scheduler.loop


@pytest.mark.parametrize("control", [float("nan"), float("inf"), 1.01, -1.5, None, True, "0.01", torch.tensor(0.01)])
def test_a_control_that_is_none_is_its_controllers(control, lab_args):
    loop = begun(made(Steady, control=control), lab_args)
    with pytest.raises(ValueError, match=r"control of Own must be a finite number within its bounds \[-1, 1\]"):
        loop.tick(0, 10, 0.4)
    assert loop.settings == {"entropy_bonus": 0.0}  # it was not used


def test_a_control_of_any_number_is_used_as_a_float(lab_args):
    tick = begun(made(Steady, control=np.float32(0.0)), lab_args).tick(0, 10, 0.4)
    assert type(tick.control) is float and tick.control == 0.0


def test_a_state_that_is_no_json_later_is_refused_at_the_save(lab_args):
    controller = made(Steady, state_dict=lambda self: {"seen": None if self.rollouts == 0 else {1, 2}})
    loop = begun(controller, lab_args)
    loop.tick(0, 10, 0.4)
    with pytest.raises(ValueError, match=r"Own.state_dict must return JSON values, got .*: correct it"):
        loop.state_dict()


def test_a_state_that_only_an_update_makes_is_no_mistake(lab_args):
    controller = made(
        Steady,
        begin=lambda self, initial, low, high: None,
        update=lambda self, *values: vars(self).update(rollouts=1) or 0,
    )
    loop = begun(controller, lab_args)
    loop.tick(0, 10, 0.4)
    assert loop.state_dict()["chain"]["controller"] == {"rollouts": 1}


def test_a_schedule_has_the_onset_and_the_unit_that_it_names():
    for members in ({"onset": 0.5}, {"relative": True}, {}):
        schedule = as_schedule(anneals(**members))
        assert (schedule.onset, schedule.relative) == (members.get("onset"), members.get("relative", False))
        assert schedule(1.0) == pytest.approx(0.1)
    whole = anneals(onset=None, relative=True)
    assert as_schedule(whole) is whole


def test_settings_that_an_actuator_reads_and_trainer_attributes_are_no_mistakes(lab_trainer):
    for actuator in (
        SampleWeightActuator(),
        made(Moves, name="epsilon_low", value=0.2),
        made(Moves, name="temperature"),
    ):
        scheduler = EntropyScheduler(HELD, PIDController(), actuator)
        assert lab_trainer(callbacks=[scheduler]).entropy_scheduler is scheduler


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize("stages", ["onset", [0.5], {"start": 0.5}, [Stage], 3])
def test_stages_are_objects(stages):
    with pytest.raises(ValueError, match=r"a curriculum must be a list of Stage, got .*: give Stage"):
        Curriculum(stages)


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize("callbacks", [[EntropyScheduler], EntropyScheduler(HELD, Steady(), BONUS)])
def test_callbacks_are_a_list_of_objects(callbacks, lab_trainer):
    with pytest.raises(ValueError, match="`callbacks` must be a list of objects, got .*: give for example"):
        lab_trainer(callbacks=callbacks)


class Plain:
    """An actuator of a user's own, without a base class."""

    def __init__(self, **changes):
        vars(self).update({"low": -1.0, "high": 1.0, "begins": 0.0, **changes})

    def initial(self, args):
        return self.begins

    def settings(self, control, args):
        return {"epsilon_high": 0.2}

    def check(self, args):
        pass


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 1.0, "high": 0.0}, "the bounds of Plain must be finite numbers, low < high, got 1.0 and 0.0"),
        ({"low": None}, "the bounds of Plain must be finite numbers"),
        ({"low": float("-inf")}, "the bounds of Plain must be finite numbers"),
        ({"begins": 5.0}, "the control of Plain must begin within its bounds [-1, 1], got 5.0"),
        ({"begins": float("nan")}, "the control of Plain must begin within its bounds [-1, 1], got nan"),
        ({"initial": 0.0}, "Plain.initial must accept the arguments (args): change"),
        ({"check": lambda: None}, "Plain.check must accept the arguments (args): change"),
    ],
)
def test_an_actuators_range_and_methods_are_looked_at(changes, words, lab_trainer):
    with pytest.raises(ValueError) as refused:
        lab_trainer(callbacks=[EntropyScheduler(HELD, Steady(), Plain(**changes))])
    assert words in str(refused.value) and is_one_sentence(str(refused.value)), str(refused.value)


@pytest.mark.parametrize("state", [{"seen": {1, 2}}, {"weights": torch.zeros(2)}, {1: "a"}, [1]])
def test_a_callbacks_state_that_is_no_json_is_refused_when_the_trainer_is_built(state, lab_trainer):
    class Keeps(RolloutCallback):
        def state_dict(self):
            return state

    with pytest.raises(ValueError, match="Keeps.state_dict must return "):
        lab_trainer(callbacks=[Keeps()])


def test_an_actuator_names_its_setting():
    nameless = type("Nameless", (Actuator,), {"low": -1.0, "high": 1.0})
    with pytest.raises(ValueError, match="the actuator Nameless must define setting: add them"):
        as_actuators(nameless())


def test_a_part_without_a_text_of_its_own_is_described_without_its_place_in_memory():
    parts = [EntropyLoop(ConstantSchedule(0.4), PIDController(), Plain()).describe() for _ in range(2)]
    assert parts[0] == parts[1] and "Plain object>" in parts[0]["actuators"][0]
