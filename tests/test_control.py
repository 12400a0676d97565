import random
from dataclasses import fields

import pytest
from loop_args import Args, begun
from reference import algorithm_1
from trl import GRPOConfig

from es_trl.actuators.clip import ClipHighActuator
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.control.algorithm1 import SignStepController
from es_trl.control.base import ActuatorArgs
from es_trl.control.loop import EntropyLoop
from es_trl.control.pid import PIDController
from es_trl.control.self_tuned import SelfTunedPIDController
from es_trl.control.shapes import ConstantSchedule, LinearSchedule, StableAnnealSchedule


@pytest.mark.parametrize("seed", range(20))
def test_algorithm_1_equals_the_paper(seed):
    rng = random.Random(seed)
    rollouts = rng.randint(1, 80)
    # steps of 1/64 make the means of equal windows equal to the last bit, so that the zero of line 10 is met too
    entropies = [rng.randint(0, 64) / 64 for _ in range(rollouts)]
    window, warmup = rng.randint(1, 8), rng.randint(0, 12)
    delta = rng.choice([0.005, 0.02, 0.1])
    schedule = rng.choice([ConstantSchedule(0.5), StableAnnealSchedule(0.5, 0.0, ratio=0.3)])
    loop = begun(schedule, SignStepController(delta, window, warmup), ClipHighActuator(0.1, 0.4))
    expected = algorithm_1(
        entropies,
        scheduler=lambda t: schedule((t - 1) / max(rollouts - 1, 1)),
        c0=0.28,
        delta=delta,
        w=window,
        T=warmup,
        c_min=0.1,
        c_max=0.4,
    )
    clips = [loop.tick(t, rollouts, h).settings["epsilon_high"] for t, h in enumerate(entropies)]
    assert clips == pytest.approx(expected, abs=1e-12)


def test_tick_by_hand():
    loop = begun(LinearSchedule(0.5, 0.1), PIDController(kp=1.0, ki=0.0, kff=2.0), EntropyBonusActuator(-0.3, 0.3))
    # rollout 1 of 5: target 0.4, error 0.1, and the target falls by 0.1 until the next rollout
    tick = loop.tick(1, 5, 0.3)
    assert (tick.stage, tick.settings, tick.saturated) == ("anneal", {"entropy_bonus": tick.control}, False)
    assert [tick.target, tick.entropy, tick.error, tick.control] == pytest.approx([0.4, 0.3, 0.1, -0.1])
    assert loop.tick(2, 5, 2.0).saturated
    # behind the last rollout the target rests
    assert loop.tick(4, 5, 0.1).control == pytest.approx(0.0)


def test_target_reaches_its_end_at_the_last_rollout():
    loop = begun(StableAnnealSchedule(0.4, 0.05, ratio=0.5), PIDController(), EntropyBonusActuator())
    ticks = [loop.tick(rollout, 5, 0.4) for rollout in range(5)]
    assert [tick.target for tick in ticks] == pytest.approx([0.4, 0.4, 0.4, 0.225, 0.05])
    assert [tick.stage for tick in ticks] == ["stable", "stable", "anneal", "anneal", "anneal"]


def test_relative_targets_are_anchored_at_the_first_rollout():
    loop = begun(ConstantSchedule(0.5, relative=True), PIDController(), EntropyBonusActuator())
    assert [loop.tick(rollout, 3, h).target for rollout, h in enumerate((0.8, 0.6, 0.2))] == [0.4, 0.4, 0.4]
    restored = begun(ConstantSchedule(0.5, relative=True), PIDController(), EntropyBonusActuator())
    restored.load_state_dict(loop.state_dict())
    assert restored.tick(3, 4, 0.1).target == 0.4


def test_plain_function_as_schedule():
    loop = begun(lambda progress: 0.4 - 0.2 * progress, PIDController(), EntropyBonusActuator())
    assert loop.tick(1, 3, 0.3).target == pytest.approx(0.3)


@pytest.mark.parametrize("entropy", [float("nan"), float("inf")])
def test_an_entropy_that_is_no_number_is_refused(entropy):
    loop = begun(ConstantSchedule(0.4), PIDController(), EntropyBonusActuator())
    with pytest.raises(
        ValueError,
        match="broken at rollout 7 .its entropy is (nan|inf).*The last checkpoint is intact: start a new run from it",
    ):
        loop.tick(7, 10, entropy)


@pytest.mark.parametrize("relative", [False, True])
def test_the_control_stays_where_entropy_was_not_measured(relative):
    schedule = ConstantSchedule(0.4, relative=relative)
    loop, other = (begun(schedule, PIDController(kp=0.1, ki=0.1), EntropyBonusActuator()) for _ in range(2))
    before = loop.tick(0, 10, None)
    assert (before.entropy, before.error, before.control) == (None, None, 0.0)
    assert before.target == (None if relative else 0.4)  # relative to an entropy that is not known yet
    first = loop.tick(1, 10, 0.5)
    held = loop.tick(2, 10, None)
    assert (held.control, held.settings) == (first.control, first.settings) and first.control != 0.0
    assert [event["kind"] for event in held.events] == ["unmeasured"]
    other.tick(1, 10, 0.5)
    assert loop.tick(3, 10, 0.45) == other.tick(3, 10, 0.45)  # the controller has not seen the rollout


def test_the_first_rollout_may_be_the_one_that_was_not_measured():
    loop = begun(ConstantSchedule(0.4), SelfTunedPIDController(), EntropyBonusActuator())
    held = loop.tick(0, 10, None)
    assert (held.control, held.estimate) == (0.0, None)
    assert loop.tick(1, 10, 0.5).estimate["entropy"] == 0.5


def test_only_rollouts_in_a_row_without_a_measurement_end_the_run():
    loop = begun(ConstantSchedule(0.4), PIDController(), EntropyBonusActuator())
    for rollout in range(12):
        loop.tick(rollout, 20, 0.5 if rollout % 4 == 3 else None)
    resumed = begun(ConstantSchedule(0.4), PIDController(), EntropyBonusActuator())
    for rollout in range(12, 16):
        loop.tick(rollout, 20, None)
    resumed.load_state_dict(loop.state_dict())
    for one in (loop, resumed):
        with pytest.raises(ValueError, match="in 5 rollouts in a row, up to rollout 16: raise max_completion_le"):
            one.tick(16, 20, None)


@pytest.mark.parametrize("function", [lambda p: None, lambda p: -p, lambda p: "0.4", lambda p: float("nan")])
def test_a_function_that_is_no_target_is_refused_before_the_run(function):
    with pytest.raises(ValueError, match="the schedule's value at progress .* must be a finite number >= 0"):
        begun(function, PIDController(), EntropyBonusActuator())


@pytest.mark.parametrize("schedule", [0.4, None, ConstantSchedule])
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(ValueError, match="must be a Schedule or a function from progress"):
        EntropyLoop(schedule, PIDController(), EntropyBonusActuator())


def test_state_of_another_controller_is_refused():
    state = begun(ConstantSchedule(0.4), SignStepController(), ClipHighActuator()).state_dict()
    with pytest.raises(ValueError, match="with SignStepController on ClipHighActuator but this run has PID"):
        begun(ConstantSchedule(0.4), PIDController(), EntropyBonusActuator()).load_state_dict(state)


@pytest.mark.parametrize(("accumulation", "updates"), [(16, "1/2"), (3, "8/3")])
def test_control_period_is_the_rollout(accumulation, updates):
    args = Args()
    args.gradient_accumulation_steps = accumulation
    loop = EntropyLoop(ConstantSchedule(0.4), PIDController(), EntropyBonusActuator())
    with pytest.raises(ValueError, match=f"updates per rollout must be a whole number, .* got {updates}: set"):
        loop.begin(args)


def test_a_loop_works_before_it_is_begun():
    loop = EntropyLoop(ConstantSchedule(0.4), PIDController(kp=1.0, ki=0.0), EntropyBonusActuator(-0.5, 0.5))
    assert (loop.settings, loop.chain.control, loop.chain.saturated) == ({}, 0.0, False)
    assert loop.tick(0, 10, 0.3).settings == {"entropy_bonus": pytest.approx(0.1)}
    loop.begin(Args())
    assert loop.settings == {"entropy_bonus": 0.0} and loop.state_dict()["anchor"] is None
    # the bound nearest to 0, until the configuration is known
    clip = EntropyLoop(ConstantSchedule(0.4), SignStepController(0.1, warmup=0), ClipHighActuator(0.1, 0.4))
    assert clip.tick(0, 10, 0.3).settings == {"epsilon_high": 0.2}
    assert clip.state_dict()["chain"]["links"][0]["control"] == 0.2


def test_the_fields_that_actuators_read_have_trls_defaults():
    trl = {field.name: field.default for field in fields(GRPOConfig)}
    own = {field.name: field.default for field in fields(ActuatorArgs)}
    # None until TRL's `__post_init__`, which takes gradient_accumulation_steps
    assert trl.pop("steps_per_generation") is None and own.pop("steps_per_generation") == 1
    assert own.pop("overlong_cache") == 0  # a field of ESGRPOConfig
    assert own.items() <= trl.items()


def test_a_switch_of_the_prompts_leaves_the_control_for_a_rollout():
    loop = begun(ConstantSchedule(0.4), PIDController(kp=1.0, ki=0.0), EntropyBonusActuator(-1.0, 1.0))
    before = loop.tick(0, 10, 0.3, 0.01)
    tick = loop.tick(1, 10, 0.7, 0.01, switched=True)
    assert (tick.control, tick.settings) == (before.control, before.settings)
    assert (tick.target, tick.entropy, tick.error) == (0.4, 0.7, pytest.approx(-0.3))
    # proportional to the error of -0.2, and what is left of the offset that kept 0.1 at an error of -0.3
    assert loop.tick(2, 10, 0.6, 0.01).control == pytest.approx(-0.2 + 0.7 * (before.control + 0.3))
