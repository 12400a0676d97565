import json

import pytest
from loop_args import Args

from es_trl.actuators.clip import ClipActuator, ClipHighActuator
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.control.algorithm1 import SignStepController
from es_trl.control.base import Controller, PlantKnowledge
from es_trl.control.handover import PATIENCE, ActuatorChain
from es_trl.control.pid import PIDController
from es_trl.control.self_tuned import SelfTunedPIDController
from es_trl.control.shapes import ConstantSchedule
from es_trl.lab.simulated import SimulatedPlant


class Scripted(Controller):
    """Gives the controls that a test wants, and what it knows of the plant."""

    def __init__(self, acts=True):
        self.known = {"acts": acts, "push": 0.0, "strength": None, "dead_time": 1, "estimate": {}}
        self.begun = []

    def begin(self, initial, low, high):
        self.begun.append((initial, low, high))

    def take_over(self, initial, low, high, holds):
        self.begun.append((initial, low, high, holds))

    @property
    def knowledge(self):
        return PlantKnowledge(**self.known)

    def update(self, target, entropy, slope, noise):
        return self.next

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def begun(controller, *actuators):
    chain = ActuatorChain(controller, actuators)
    chain.begin(Args())
    return chain


def step(chain, control, error=0.1):
    chain.controller.next = control
    chain.update(0.4, 0.4 - error, 0.0, 0.01)
    return chain.hand_over()


def test_hands_over_where_the_bound_is_not_enough():
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    assert [step(chain, 0.4) for _ in range(PATIENCE - 1)] == [None] * (PATIENCE - 1)
    assert step(chain, 0.4) == "ClipHighActuator is at its bound (0.4): EntropyBonusActuator takes over"
    # bumpless: the clip stays, the bonus begins at nothing
    assert chain.settings == {"epsilon_high": 0.4, "entropy_bonus": 0.0}
    assert chain.controller.begun[1:] == [(0.28, 0.1, 0.4), (0.0, -0.5, 0.5, True)]
    step(chain, 0.2)
    assert chain.settings == {"epsilon_high": 0.4, "entropy_bonus": 0.2} and not chain.saturated


def test_a_bound_that_is_left_or_does_its_work_keeps_the_control():
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    for control, error in [(0.4, 0.1)] * (PATIENCE - 1) + [(0.3, 0.1)] + [(0.4, 0.1)] * (PATIENCE - 1) + [(0.4, -0.1)]:
        assert step(chain, control, error) is None
    assert chain.settings == {"epsilon_high": 0.4, "entropy_bonus": 0.0}


def test_hands_over_where_the_control_does_not_act():
    chain = begun(Scripted(acts=False), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    # the error changes its sign, so the bound is not what holds entropy back
    messages = [step(chain, control, error) for control, error in [(0.4, 0.1), (0.1, 0.1)] * 3]
    assert messages[PATIENCE - 1] == "ClipHighActuator shows no effect (0.4): EntropyBonusActuator takes over"


def test_control_returns_when_it_can():
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    for _ in range(PATIENCE):
        step(chain, 0.4)
    step(chain, 0.3)
    assert [step(chain, -0.1) for _ in range(PATIENCE - 1)] == [None] * (PATIENCE - 1)
    message = step(chain, -0.1)
    assert message == "EntropyBonusActuator is not needed any more: control returns to ClipHighActuator"
    assert chain.settings == {"epsilon_high": 0.4, "entropy_bonus": 0.0}
    assert chain.controller.begun[-1] == (0.4, 0.1, 0.4, False)
    step(chain, 0.35)
    assert chain.settings == {"epsilon_high": 0.35, "entropy_bonus": 0.0}


@pytest.mark.parametrize(("push", "returns"), [(-0.02, True), (-0.2, False)])
def test_control_returns_to_what_is_strong_enough(push, returns):
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    chain.controller.known["strength"] = 0.1  # what the clip surely does
    for _ in range(PATIENCE):
        step(chain, 0.4)
    chain.controller.known["push"] = push  # what is asked of the bonus now
    messages = [step(chain, -0.1) for _ in range(PATIENCE)]
    assert (messages[-1] is not None) == returns


def test_control_returns_all_the_way():
    bonus, clip = EntropyBonusActuator(-0.5, 0.5), ClipActuator(-0.5, 1.0)
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), clip, bonus)
    for control in (0.4, 1.0):
        for _ in range(PATIENCE):
            step(chain, control)
    assert chain.actuator == bonus
    for _ in range(PATIENCE):
        step(chain, -0.1)
    # the clip goes on from its bound, and is needed as long as it is wider than where it began
    assert chain.actuator == clip
    assert [step(chain, 0.2) for _ in range(3 * PATIENCE)] == [None] * (3 * PATIENCE)
    for _ in range(PATIENCE):
        step(chain, -0.1)
    assert chain.actuator == ClipHighActuator(0.1, 0.4)
    assert chain.settings == pytest.approx({"epsilon_high": 0.4, "epsilon_low": 0.2, "entropy_bonus": 0.0})


def test_control_does_not_return_to_what_did_not_act():
    chain = begun(Scripted(acts=False), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    for _ in range(PATIENCE):
        step(chain, 0.4)
    assert [step(chain, -0.1) for _ in range(3 * PATIENCE)] == [None] * (3 * PATIENCE)


def test_the_next_clip_begins_where_the_last_one_stands():
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), ClipActuator(-0.5, 1.0), EntropyBonusActuator())
    for _ in range(PATIENCE):
        step(chain, 0.4)
    assert chain.settings == {"epsilon_high": 0.4, "epsilon_low": 0.2, "entropy_bonus": 0.0}
    step(chain, 1.0)
    assert chain.settings == pytest.approx({"epsilon_high": 4.0, "epsilon_low": 0.02, "entropy_bonus": 0.0})


def test_the_last_one_has_nobody_to_hand_over_to():
    chain = begun(Scripted(), EntropyBonusActuator(-0.5, 0.5))
    assert [step(chain, 0.5) for _ in range(3 * PATIENCE)] == [None] * (3 * PATIENCE)
    assert chain.saturated


def test_hands_over_where_the_control_has_turned_out_reversed():
    """More control means less entropy here: it is at its low bound, entropy is too low, and nothing else is left."""
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    assert [step(chain, 0.1) for _ in range(PATIENCE)][-1].startswith("ClipHighActuator is at its bound (0.1)")
    assert [step(chain, 0.2) for _ in range(2 * PATIENCE)] == [None] * (2 * PATIENCE)  # the bonus is needed
    assert [step(chain, -0.2) for _ in range(PATIENCE)][-1].endswith("returns to ClipHighActuator")


def test_waits_for_the_dead_time_too():
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    chain.controller.known["dead_time"] = 4
    messages = [step(chain, 0.4) for _ in range(PATIENCE + 3)]
    assert messages[:-1] == [None] * (PATIENCE + 2) and messages[-1] is not None


@pytest.mark.parametrize(
    ("actuators", "changes", "message"),
    [
        # the clip may hand over at 0.06 or at 5.6, where the other cannot begin
        ([ClipActuator(), ClipHighActuator()], {}, r"ClipHighActuator must begin within its bounds \[0.1, 0.4\]"),
        # up to 0.4 times 10 to the 1.3 is 8
        (
            [ClipHighActuator(), ClipActuator()],
            {"delta": 7.0},
            "epsilon_high must be <= delta - 1, got up to 7.98 with delta=7",
        ),
    ],
)
def test_what_a_later_actuator_may_find_is_checked_before(actuators, changes, message):
    args = Args()
    vars(args).update(changes)
    with pytest.raises(ValueError, match=message):
        ActuatorChain(PIDController(), actuators).begin(args)


def test_a_second_run_begins_with_all_settings_as_configured():
    chain = begun(Scripted(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5))
    for control in [0.4] * PATIENCE + [0.3]:
        step(chain, control)
    assert chain.settings == {"epsilon_high": 0.4, "entropy_bonus": 0.3}
    chain.begin(Args())
    assert chain.settings == {"epsilon_high": 0.28, "entropy_bonus": 0.0}


def test_a_resume_with_narrower_bounds_keeps_to_them():
    whole, narrower = [begun(PIDController(), ClipHighActuator(0.1, high)) for high in (0.4, 0.35)]
    whole.update(0.9, 0.3, 0.0, 0.01)
    narrower.load_state_dict(whole.state_dict())
    assert (whole.control, narrower.control, narrower.settings) == (0.4, 0.35, {"epsilon_high": 0.35})


def test_an_empty_chain_and_a_repeated_actuator_are_refused():
    with pytest.raises(ValueError, match="the chain of actuators must have at least one actuator, got none"):
        ActuatorChain(PIDController(), [])
    with pytest.raises(ValueError, match="must not repeat an actuator, got ClipActuator, ClipActuator: name each once"):
        ActuatorChain(PIDController(), [ClipActuator(), ClipActuator(-0.1, 0.1)])


def test_each_actuator_is_checked():
    args = Args()
    args.loss_type = "sapo"
    with pytest.raises(ValueError, match="clip has no authority with loss_type='sapo'"):
        ActuatorChain(PIDController(), [EntropyBonusActuator(), ClipActuator()]).begin(args)


class ThroughChain(Controller):
    """Runs a chain on the simulated plant, whose control is what the bonus is set to; the clip moves nothing."""

    def __init__(self, chain):
        self.chain, self.messages = chain, []

    def begin(self, initial, low, high):
        self.chain.begin(Args())

    def update(self, target, entropy, slope, noise):
        self.chain.update(target, entropy, slope, noise)
        message = self.chain.hand_over()
        self.messages += [message] if message else []
        return self.chain.settings.get("entropy_bonus", 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_powerless_clip_is_found_out_and_the_bonus_holds(seed):
    chain = ActuatorChain(SelfTunedPIDController(), [ClipHighActuator(), EntropyBonusActuator(-1.0, 1.0)])
    through = ThroughChain(chain)
    run = SimulatedPlant().run(through, ConstantSchedule(0.35), rollouts=120, seed=seed)
    (message,) = through.messages
    assert message.startswith("ClipHighActuator shows no effect") and message.endswith("BonusActuator takes over")
    assert run.error(60) < 2.0 * run.floor(60)


@pytest.mark.parametrize("make", [SelfTunedPIDController, lambda: SignStepController(0.05, window=1)])
def test_state_round_trip_after_a_hand_over(make):
    chains = [begun(make(), ClipHighActuator(0.1, 0.4), EntropyBonusActuator(-0.5, 0.5)) for _ in range(2)]
    whole, restored = chains
    messages = [(whole.update(0.9, 0.3, 0.0, 0.01), whole.hand_over())[1] for _ in range(40)]
    assert sum(message is not None for message in messages) == 1
    restored.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for chain in chains:
        for entropy in (0.3, 0.5, 0.9, 0.95):
            chain.update(0.9, entropy, -0.01, 0.01)
    assert whole.state_dict() == restored.state_dict() and whole.settings == restored.settings


def test_where_prompts_change_the_controller_may_move_the_actuator_that_acts():
    chain = begun(SelfTunedPIDController(), EntropyBonusActuator())
    for _ in range(8):
        chain.update(0.9, 0.3, 0.0, 0.01)
    assert chain.control > 0.0
    chain.rebase(0.9, 2.0, 0.01)
    assert chain.settings == {"entropy_bonus": 0.0} and chain.control == 0.0


def test_where_prompts_change_every_control_stays_and_patience_begins_again():
    chain = begun(SignStepController(0.5, window=1, warmup=0), ClipHighActuator(0.1, 0.4), EntropyBonusActuator())
    for _ in range(PATIENCE - 1):
        chain.update(0.9, 0.3, 0.0, 0.01)
        assert chain.hand_over() is None
    settings = chain.settings
    chain.rebase(0.9, 0.2, 0.01)
    assert chain.hand_over() is None and chain.settings == settings
    for left in range(PATIENCE, 0, -1):
        chain.update(0.9, 0.2, 0.0, 0.01)
        assert (chain.hand_over() is None) == (left > 1)
