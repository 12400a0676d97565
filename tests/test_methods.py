"""The methods by name: what each is made of, and what it refuses."""

import pytest
from launching import ROOT
from method_runs import CONTROLLED, OPEN, PLAIN

from es_trl.__main__ import main as cli
from es_trl.config.methods import METHODS
from es_trl.lab import countdown_reward


def parts_of(lab_args, **changes):
    return lab_args(**PLAIN, **changes).build_parts()


def test_the_names():
    assert set(METHODS) == {*CONTROLLED, *OPEN, "skywork"}


def test_the_documentations_table_has_each_with_its_parts():
    rows = (ROOT / "docs" / "methods" / "index.md").read_text().splitlines()
    for name, method in METHODS.items():
        (row,) = [row for row in rows if row.startswith(f"| [`{name}`]")]
        kinds = [block["kind"] for block in method.blocks.values() if block]
        if method.actuator["kind"] == "record_only":
            assert row.endswith("| none | none | none |")
        else:  # the row below `es` refers to its schedule
            assert [kind for kind in kinds if f"`{kind}`" not in row] == (["stable_anneal"] if name == "es_pid" else [])


def test_published_numbers(lab_args):
    schedule, controller, (actuator,) = parts_of(lab_args, method="es")
    assert (schedule.target, schedule.ratio, controller.window, actuator.high) == (0.4, 0.1, 5, 0.40)
    schedule, controller, (actuator,) = parts_of(lab_args, method="aer")
    assert (schedule.target, schedule.relative, controller.width, controller.gain) == (0.4, True, 0.0, 0.002)
    assert (actuator.low, actuator.high, actuator.rho, actuator.difficulty) == (0.0, 0.01, 0.5, "linear")
    schedule, controller, (actuator,) = parts_of(lab_args, method="aent")
    low, high = schedule.target - controller.width / 2, schedule.target + controller.width / 2
    assert (low, high) == pytest.approx((0.15, 0.24))
    assert (controller.gain, controller.warmup, actuator.clamp, actuator.start) == (0.002, 30, 0.33, 0.002)
    assert (actuator.low, actuator.high) == (6e-4, 9e-3)
    schedule, controller, (actuator,) = parts_of(lab_args, method="entrocraft")
    bands = [(schedule(x) - controller.width / 2, schedule(x) + controller.width / 2) for x in (0.0, 1.0)]
    assert bands == [pytest.approx((0.6, 0.7)), pytest.approx((0.4, 0.5))] and actuator.variant == "paper"
    schedule, controller, (actuator,) = parts_of(lab_args, method="entropic")
    assert (schedule.target, controller.kp, controller.ki, actuator.low, actuator.high) == (0.1, 1.0, 0.01, -1.0, 1.0)
    assert parts_of(lab_args, method="grpo") is None
    _, _, (actuator,) = parts_of(lab_args, method="clip_cov")
    assert (actuator.ratio, actuator.cov_low, actuator.cov_high) == (2e-4, 1.0, 5.0)
    _, _, (actuator,) = parts_of(lab_args, method="kl_cov")
    assert (actuator.ratio, actuator.coefficient) == (2e-3, 1.0)
    schedule, controller, (actuator,) = parts_of(lab_args, method="repo_r")
    assert (schedule.target, schedule.relative, controller.smallest) == (1.0, True, 1e-4)
    assert (actuator.low, actuator.high, actuator.start) == (-0.05, 0.05, 1e-3)
    _, controller, (actuator,) = parts_of(lab_args, method="flexec")
    assert (controller.shape, actuator.low, actuator.high) == ("increase_decrease", -1.0, 1.0)
    _, _, (actuator,) = parts_of(lab_args, method="ce_gppo")
    assert (actuator.beta1, actuator.beta2) == (0.75, 1.0)


def test_what_a_method_sets_of_trls_fields(lab_args):
    args = lab_args(method="skywork", **PLAIN)
    assert args.use_adaptive_entropy and args.build_parts()[0].target == 0.2 and args.entropy_coef == 0.0
    assert (args.entropy_coef_delta, args.entropy_coef_min, args.entropy_coef_max) == (1e-4, 0.0, 5e-3)
    args = lab_args(method="dapo", max_completion_length=20, **PLAIN)
    assert (args.epsilon, args.epsilon_high, args.dynamic_sampling_tries, args.overlong_cache) == (0.2, 0.28, 10, 4)
    assert lab_args(method="qae", **PLAIN).epsilon_high == 0.28
    args = lab_args(method="clip_cov", **PLAIN)
    assert (args.epsilon, args.epsilon_high, args.delta) == (1.0, 1.0, 10.0)
    assert lab_args(method="grpo", **PLAIN).epsilon_high is None
    clips = [lab_args(method=name, **PLAIN) for name in ("flexec", "ce_gppo")]
    assert [(args.epsilon, args.epsilon_high) for args in clips] == [(0.2, 0.2)] * 2


# the equations of the paper, and what only the authors' script has: the cap of 10, temperature and tries
DAPO = {
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "delta": 10.0,
    "loss_type": "dapo",
    "importance_sampling_level": "token",
    "scale_rewards": "group",
    "mask_truncated_completions": False,
    "num_iterations": 1,
    "beta": 0.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "dynamic_sampling_tries": 10,
    "overlong_cache": 4,
}
SKYWORK = {
    "use_adaptive_entropy": True,
    "entropy_coef": 0.0,
    "entropy_coef_delta": 1e-4,
    "entropy_coef_min": 0.0,
    "entropy_coef_max": 5e-3,
    "mask_uniform_prompts": True,
    "epsilon": 0.2,
    "loss_type": "dapo",
    "scale_rewards": "group",
    "num_iterations": 1,
    "beta": 0.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
}


@pytest.mark.parametrize(("method", "values"), [("dapo", DAPO), ("skywork", SKYWORK)])
def test_a_method_names_all_that_it_is(method, values, lab_args):
    """Other defaults of TRL would change nothing."""
    args = lab_args(method=method, max_completion_length=20, **PLAIN)
    assert {name: getattr(args, name) for name in values} == values
    assert METHODS[method].values(args) == values


def test_a_users_value_counts_more_than_the_methods(lab_args):
    off = lab_args(method="dapo", dynamic_sampling_tries=0, overlong_cache=0)
    assert (off.dynamic_sampling_tries, off.overlong_cache) == (0, 0)
    unset = lab_args()
    assert (unset.dynamic_sampling_tries, unset.overlong_cache) == (0, 0)
    assert lab_args(method="dapo", epsilon_high=0.3, dynamic_sampling_tries=3).epsilon_high == 0.3
    assert lab_args(method="dapo", dynamic_sampling_tries=3).dynamic_sampling_tries == 3


def test_without_a_schedule_nothing_is_held(lab_args):
    assert parts_of(lab_args, method="es_pid", entropy_schedule="none") is None
    assert parts_of(lab_args, method="aer", entropy_schedule="null", entropy_controller="none") is None
    assert parts_of(lab_args, method="clip_cov", entropy_schedule="none")[0] is None
    with pytest.raises(
        ValueError, match="`entropy_controller` must be none, because method es_pid has no target here, got 'pid'"
    ):
        lab_args(method="es_pid", entropy_schedule="none", entropy_controller="pid")


def test_our_default_is_a_point_to_start_from(lab_args):
    blocks = {"entropy_controller": "sign_step", "entropy_actuator": ["clip_high", {"kind": "clip"}]}
    schedule, controller, actuators = parts_of(lab_args, method="es_pid", **blocks)
    names = [type(part).__name__ for part in (controller, *actuators)]
    assert names == ["SignStepController", "ClipHighActuator", "ClipActuator"] and schedule.target == 0.4


def test_a_method_takes_the_other_controllers_of_its_authors(lab_args):
    falling = {"kind": "linear", "start": 1.0, "end": 0.2, "relative": True}
    for block in ("hysteresis", {"kind": "hysteresis", "floor": 0.2}):
        parts = parts_of(lab_args, method="flexec", entropy_schedule=falling, entropy_controller=block)
        assert type(parts[1]).__name__ == "HysteresisController" and parts[0].end == 0.2
    block = {"shape": "decrease_increase_decrease"}
    assert parts_of(lab_args, method="flexec", entropy_controller=block)[1].weight(0.25) == 0.5


def test_a_schedule_with_a_kind_is_the_users_alone(lab_args):
    block = {"kind": "constant", "target": 0.3}
    assert not parts_of(lab_args, method="aer", entropy_schedule=block)[0].relative
    assert parts_of(lab_args, method="aer", entropy_schedule={"target": 0.3})[0].relative


@pytest.mark.parametrize("schedule", [{"target": 0.3}, '{"target": 0.3}', {"kind": "constant", "target": 0.3}])
def test_blocks_change_what_they_name(schedule, lab_args):
    schedule, controller, (actuator,) = parts_of(
        lab_args,
        method="aent",
        entropy_schedule=schedule,
        entropy_controller={"kind": "dead_band", "gain": 0.1},
        entropy_actuator={"clamp": 0.0},
    )
    assert (schedule.target, controller.gain, controller.width, actuator.clamp) == (0.3, 0.1, 0.09, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_any_method_takes_any_schedule(method, lab_args):
    blocks = ({"kind": "cosine", "start": 0.5, "end": 0.1}, {"kind": "constant", "target": 1.1, "relative": True})
    for block, begin in zip(blocks, (0.5, 1.1), strict=True):
        schedule, controller, _ = parts_of(lab_args, method=method, entropy_schedule=block)
        assert schedule(0.0) == begin and controller.needs_target is (method not in OPEN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "entrocaft"}, "`method` must be a known name, got 'entrocaft', did you mean 'entrocraft'"),
        (
            {"method": "aer", "entropy_controller": "pid"},
            "`entropy_controller` must be of kind dead_band for method aer, got 'pid': set that kind",
        ),
        (
            {"method": "es", "entropy_actuator": ["clip_high", "clip"]},
            "`entropy_actuator` must be of kind clip_high for method es, got .'clip_high', 'clip'.",
        ),
        (
            {"method": "grpo", "entropy_actuator": "clip"},
            "`entropy_actuator` must be none, because method grpo has no target here, got 'clip'",
        ),
        ({"method": "aent", "entropy_controller": {"width": -0.1}}, "`width` must be a finite number >= 0, got -0.1"),
        (
            {"method": "entrocraft", "entropy_controller": {"width": -0.1}},
            "`width` must be a finite number >= 0, got -0.1",
        ),
        ({"method": "aer", "entropy_actuator": {"tau": 0.4}}, "has no argument 'tau'"),
        ({"method": False}, "`method` must be a known name, got False"),
        ({"method": "aer", "entropy_schedule": "{bad"}, "`entropy_schedule` is not valid YAML .expected ',' or '}'"),
        (
            {"method": "dapo", "max_completion_length": None},
            "`max_completion_length` must be a number for method dapo, because `overlong_cache`",
        ),
        ({"entropy_actuator": "clip_cov"}, "the loop has no target"),
    ],
)
def test_what_a_configuration_refuses(changes, message, lab_args):
    with pytest.raises(ValueError, match=message):
        lab_args(**PLAIN, **changes)


ONE_UPDATE = {"steps_per_generation": 1}
AENT = ["--method", "aent", "--entropy_actuator", "clamped_bonus"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "es", **ONE_UPDATE}, "clip_high has no authority with 1 update per rollout"),
        ({"method": "kl_cov", **ONE_UPDATE}, "kl_cov has no authority with one update per rollout"),
        ({"method": "kl_cov", "delta": 5.0}, "`delta` must be unset with kl_cov, which clips no ratio, got 5.0"),
        (
            {"method": "kl_cov", "off_policy_mask_threshold": 0.5},
            "`off_policy_mask_threshold` must be unset with kl_cov",
        ),
        (
            {"entropy_schedule": {"kind": "constant", "target": 1}, "entropy_actuator": "sample_filter"},
            "the controller of SampleFilterActuator must give a sign.*set it to band_sign",
        ),
        (
            {"entropy_schedule": {"kind": "constant", "target": 1}, "entropy_actuator": ["clip_high", "kl_cov"]},
            "KLCovActuator must be the only actuator, because it already acts at its first control",
        ),
        ({"method": "clip_cov", "loss_type": "sapo"}, "`loss_type` must be a clipped loss with clip_cov, got 'sapo'"),
        (
            {"method": "clip_cov", "importance_sampling_level": "sequence"},
            "`importance_sampling_level` must be `token` with clip_cov",
        ),
        ({"method": "aer", "entropy_coef": 0.01}, "`entropy_coef` must be 0 with difficulty_bonus, got 0.01"),
        ({"method": "aent", "entropy_coef": 0.01}, "`entropy_coef` must be 0 with clamped_bonus, got 0.01"),
        (
            {"method": "aent", "entropy_actuator": {"start": 0.5}},
            "ClampedBonusActuator must begin within its bounds .* got 0.5 for clamped_bonus",
        ),
        ({"method": "aer", "use_adaptive_entropy": True}, "must be false when another controller moves the entropy"),
        (
            {"entropy_schedule": {"kind": "constant", "target": 1}, "entropy_actuator": "adaptive_target"},
            "`use_adaptive_entropy` must be true with adaptive_target, got false",
        ),
    ],
)
def test_what_a_trainer_refuses(changes, message, lab_trainer):
    with pytest.raises(ValueError, match=message):
        lab_trainer(**{"per_device_train_batch_size": 16, **PLAIN, **changes})


def test_the_code_variant_refuses_rewards_without_a_sign(lab_trainer):
    def zero_or_one(**columns):
        return [max(value, 0.0) for value in countdown_reward(**columns)]

    code = {"method": "entrocraft", "entropy_actuator": {"variant": "code"}}
    with pytest.raises(ValueError, match="return for example 1 for right and -1 for wrong, or set variant: paper"):
        lab_trainer(reward=zero_or_one, per_device_train_batch_size=16, **code, **PLAIN).train()


@pytest.mark.parametrize("method", METHODS)
def test_plan_shows_each(method, capsys):
    kind = METHODS[method].actuator["kind"]  # the recipe's own is that of es_pid
    assert cli(["plan", "recipes/countdown_es.yaml", "--method", method, "--entropy_actuator", kind]) == 0
    assert f"{method}: {METHODS[method].title}" in capsys.readouterr().out


def test_a_warm_up_as_long_as_the_run_is_a_warning(capsys):
    assert cli(["plan", "recipes/countdown_es.yaml", "--max_steps", "240", *AENT]) == 0
    assert "the warm-up of dead_band (30 rollouts) is not shorter than the run (30 rollouts)" in capsys.readouterr().out
