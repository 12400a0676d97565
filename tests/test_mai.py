"""MAI-Thinking-1's adaptive clip, and the control loop that decides after every update."""

import json
from statistics import fmean

import pytest
import torch
from loop_args import Args
from method_runs import PLAIN

from es_trl import (
    ClampedBonusActuator,
    ClipHighActuator,
    ConstantSchedule,
    EntropyBonusActuator,
    LinearSchedule,
    PIDController,
    SampleFilterActuator,
    SelfTunedPIDController,
    SignStepController,
)
from es_trl.__main__ import main
from es_trl.control.band import BandSignController
from es_trl.control.dynamics import PlantEstimator
from es_trl.control.loop import EntropyLoop


def begun(schedule, controller, actuator, **changes):
    loop = EntropyLoop(schedule, controller, actuator)
    loop.begin(Args(**changes), per_update=True)
    return loop


def of_mai(target=0.3):
    parts = ConstantSchedule(target), SignStepController(0.25, window=1, warmup=0), ClipHighActuator(1.5, 4.0)
    return begun(*parts, epsilon=0.6, epsilon_high=1.5, delta=50.0)


def equations_6_and_8(estimates, target, eps, delta, k_max):
    """The upper ends of the trust region, 1 / (1 - eps) + k, after each estimate of the entropy."""
    k, ends = 0.0, []
    for estimate in estimates:
        if target > estimate:
            k = k + delta
        elif target < estimate:
            k = k - delta
        k = min(max(k, 0.0), k_max)
        ends.append(1.0 / (1.0 - eps) + k)
    return ends


def test_the_parts_have_the_published_numbers(lab_args):
    args = lab_args(method="mai", **PLAIN)
    schedule, controller, (actuator,) = args.build_parts()
    assert (schedule(0.0), schedule(1.0)) == (0.3, 0.3)
    assert (controller.delta, controller.window, controller.warmup) == (0.25, 1, 0)
    assert (args.epsilon, args.epsilon_high, args.delta, args.beta, args.entropy_sensor) == (0.6, 1.5, 50, 0, "update")
    # the ratios from 0.4 to 2.5 at k = 0, and to 5.0 at k = 2.5
    assert (1 - args.epsilon, 1 + actuator.low, 1 + actuator.high) == pytest.approx((0.4, 1 / 0.4, 5.0))
    assert of_mai().settings == {"epsilon_high": 1.5}
    assert lab_args(method="mai", entropy_sensor="rollout", **PLAIN).entropy_sensor == "rollout"


def test_the_clip_moves_as_in_the_equations():
    torch.manual_seed(0)
    estimates = [0.3, *(0.3 + 0.1 * torch.randn(120)).tolist(), *[0.2] * 12, *[0.4] * 12]
    loop = of_mai()
    ticks = [loop.update(number // 8, 20, estimate) for number, estimate in enumerate(estimates)]
    ends = [1.0 + tick.settings["epsilon_high"] for tick in ticks]
    assert ends == pytest.approx(equations_6_and_8(estimates, 0.3, eps=0.6, delta=0.25, k_max=2.5))
    assert ends[0] == 2.5 and ends[-13] == 5.0 and ends[-1] == 2.5  # each way takes ten updates


def test_a_rollout_moves_nothing_and_gives_its_target_to_all_its_updates():
    loop = begun(LinearSchedule(0.8, 0.2), PIDController(kp=1.0, ki=0.0, kff=10.0), EntropyBonusActuator(-5.0, 5.0))
    tick = loop.tick(0, 4, 0.5)
    assert (tick.control, tick.target, tick.error) == (0.0, 0.8, pytest.approx(0.3))
    # an eighth of the 0.2 nats by which the target falls until the next rollout
    for entropy in (0.5, 0.7):
        assert loop.update(0, 4, entropy).control == pytest.approx(0.8 - entropy - 10 * 0.2 / 8)
    assert loop.update(0, 4, 0.6).target == 0.8
    second = loop.tick(1, 4, 0.9)
    assert (second.control, second.target) == (pytest.approx(-0.05), pytest.approx(0.6))


def test_the_control_stays_where_nothing_is_measured_and_in_a_rollout_of_other_prompts():
    loop = of_mai()
    loop.tick(0, 4, 0.2)
    assert loop.update(0, 4, 0.2).control == 1.75
    nothing = loop.update(0, 4, None)
    assert (nothing.control, nothing.target, nothing.entropy, nothing.error) == (1.75, 0.3, None, None)
    loop.tick(1, 4, 0.1, switched=True)
    assert [loop.update(1, 4, 0.1, switched=True).control for _ in range(8)] == [1.75] * 8
    loop.tick(2, 4, 0.1)
    assert loop.update(2, 4, 0.1).control == 2.0
    with pytest.raises(ValueError, match="the policy is broken at rollout 2 .its entropy is nan."):
        loop.update(2, 4, float("nan"))


def test_the_effect_is_that_of_the_mean_control_of_a_rollout():
    loop, expected, controls = of_mai(), PlantEstimator(), []
    entropies = [0.25, 0.27, 0.24, 0.31, 0.33]
    for rollout, entropy in enumerate(entropies):
        if controls:
            expected.act(fmean((control - 1.5) / 1.25 for control in controls))
        expected.measure(entropy, 0.01)
        tick = loop.tick(rollout, 5, entropy, 0.01)
        assert tick.estimate == expected.estimate(1.25)
        controls = [tick.control]
        for number in range(8):
            controls.append(loop.update(rollout, 5, entropy + 0.01 * (number % 3)).control)
            if (rollout, number) == (2, 4):  # a resume inside a rollout changes nothing
                state, loop = loop.state_dict(), of_mai()
                loop.load_state_dict(state)
        controls.pop()  # decided for the next rollout


REFUSED = {
    "learns": (SelfTunedPIDController(), EntropyBonusActuator(), "SelfTunedPIDController, which learns"),
    "chain": (PIDController(), [ClipHighActuator(), EntropyBonusActuator()], "a list of actuators, whose hand-over"),
    "clamped": (PIDController(), ClampedBonusActuator(), "ClampedBonusActuator, which holds the clamped entropy"),
    "filter": (BandSignController(), SampleFilterActuator(), "SampleFilterActuator, which chooses the completions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_decide_per_update(name):
    controller, actuator, words = REFUSED[name]
    with pytest.raises(ValueError, match=f"`entropy_sensor` must be rollout with {words}.*: set entropy_sensor: roll"):
        begun(ConstantSchedule(0.4), controller, actuator)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "es_pid", "entropy_sensor": "update"}, "must be rollout with SelfTunedPIDController"),
        ({"method": "mai", "steps_per_generation": 1}, "clip_high has no authority with 1 update per rollout"),
        ({"method": "mai", "epsilon_high": 0.28}, "ClipHighActuator must begin within its bounds .1.5, 4., got 0.28"),
        ({"method": "mai", "delta": 4.0}, "`high` of clip_high must be <= delta - 1, got 4.0 with delta=4.0"),
        ({"entropy_sensor": "step"}, "`entropy_sensor` must be one of rollout, update, got 'step'"),
    ],
)
def test_what_a_run_refuses(changes, message, lab_trainer):
    with pytest.raises(ValueError, match=message):
        lab_trainer(**{**PLAIN, "per_device_train_batch_size": 16, **changes})


WARNED = {
    "clip": ([], "clip_high cuts only ratios above 2.5, which few tokens reach"),
    "passes": (["--num_iterations", "2"], "reads too low from the second pass over a rollout on"),
    "sampling": (["--top_p", "0.97"], "reads too low where sampling leaves out unlikely tokens"),
    "short": (["--max_steps", "4"], "sign_step can move the control by at most 1 in 4 updates"),
    "steps": (["--entropy_controller.delta", "0.3"], "crosses the actuator's range of 2.5 in only 9 updates"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_a_plan_warns_of(name, tmp_path, capsys):
    recipe, (options, warning) = tmp_path / "recipe.yaml", WARNED[name]
    rows = {"max_steps": 64, "per_device_train_batch_size": 4, "steps_per_generation": 4, "num_generations": 4}
    rows |= {"lr_scheduler_type": "constant", "use_cpu": True, "bf16": False, "output_dir": str(tmp_path)}
    recipe.write_text(json.dumps({"reward": "countdown", "method": "mai", "top_k": 0, **rows}))
    assert main(["plan", str(recipe), *options]) == 0
    plan = " ".join(capsys.readouterr().out.split())
    assert warning in plan and plan.count("warning: ") == {"clip": 1, "sampling": 3}.get(name, 2)
    assert "entropy is estimated at every update, and the control moves after it" in plan


def test_the_decisions_of_a_run(lab_trainer):
    trainer = lab_trainer(
        method="mai",
        max_steps=12,
        entropy_schedule={"target": 0.48},
        epsilon=0.2,  # the scaled form
        epsilon_high=0.25,
        entropy_actuator={"low": 0.25, "high": 0.75},
        entropy_controller={"delta": 0.05},
    )
    used = []
    compute = trainer._compute_loss
    trainer._compute_loss = lambda *args: used.append(trainer.epsilon_high) or compute(*args)
    trainer.train()
    records = trainer.history.records
    estimates = [estimate for record in records for estimate in record["update_entropies"]]
    ends = equations_6_and_8(estimates, 0.48, eps=0.2, delta=0.05, k_max=0.5)
    decided = [control for record in records for control in record["update_controls"]]
    assert [1.0 + control for control in decided] == pytest.approx(ends) and len(set(decided)) > 2
    assert used == [0.25, *decided[:-1]]  # each decision counts from the next update on
    assert [record["control"] for record in records] == used[::4]
    assert {record["target"] for record in records} == {0.48}
