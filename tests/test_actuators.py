import pytest
from loop_args import Args

from es_trl.actuators.clip import ClipActuator, ClipHighActuator
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.kl_coef import KLCoefActuator
from es_trl.control.loop import EntropyLoop
from es_trl.control.pid import PIDController
from es_trl.control.shapes import ConstantSchedule


def test_clip_high_moves_the_upper_bound():
    assert ClipHighActuator().initial(Args()) == 0.28
    assert ClipHighActuator().initial(Args(epsilon_high=None)) == 0.2
    assert ClipHighActuator().settings(0.35, Args()) == {"epsilon_high": 0.35}


def test_clip_moves_both_bounds_against_each_other():
    clip = ClipActuator()
    assert clip.initial(Args()) == 0.0
    assert clip.settings(0.0, Args()) == {"epsilon_low": 0.2, "epsilon_high": 0.28}
    assert clip.settings(1.0, Args()) == pytest.approx({"epsilon_low": 0.02, "epsilon_high": 2.8})
    assert clip.settings(-0.5, Args(epsilon_high=None)) == pytest.approx(
        {"epsilon_low": 0.2 * 10**0.5, "epsilon_high": 0.2 / 10**0.5}
    )


def test_entropy_bonus_is_its_coefficient():
    assert EntropyBonusActuator().initial(Args()) == 0.0
    assert EntropyBonusActuator().settings(-0.01, Args()) == {"entropy_bonus": -0.01}


def test_kl_coef_is_beta():
    assert KLCoefActuator().initial(Args(beta=0.005)) == 0.005
    assert KLCoefActuator().settings(0.02, Args(beta=0.005)) == {"beta": 0.02}


@pytest.mark.parametrize(
    ("actuator", "changes"),
    [
        (KLCoefActuator(), {"beta": 0.005, "steps_per_generation": 1, "loss_type": "sapo"}),
        (ClipHighActuator(), {}),
        (ClipHighActuator(), {"num_iterations": 2, "steps_per_generation": 1}),
        (ClipHighActuator(2.0, 8.0), {"loss_type": "cispo", "epsilon_high": 5.0}),
        (
            ClipHighActuator(1e-4, 1e-3),
            {"importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4, "loss_type": "grpo"},
        ),
        (ClipHighActuator(), {"delta": 1.5}),
        (ClipActuator(), {"loss_type": "dr_grpo"}),
        (EntropyBonusActuator(), {"loss_type": "sapo", "steps_per_generation": 1}),
    ],
)
def test_authority(actuator, changes):
    actuator.check(Args(**changes))


@pytest.mark.parametrize(
    ("actuator", "changes", "message"),
    [
        (
            ClipHighActuator(),
            {"steps_per_generation": 1},
            "1 update per rollout.*steps_per_generation to 2 or .*16 for the 16 updates",
        ),
        (ClipActuator(), {"steps_per_generation": 1}, "clip has no authority with 1 update per rollout"),
        (
            ClipHighActuator(),
            {"loss_type": "sapo"},
            "no authority with loss_type='sapo'.*or the actuator to entropy_b",
        ),
        (ClipHighActuator(), {"loss_type": "vespo"}, "no authority with loss_type='vespo'"),
        (ClipActuator(), {"loss_type": "cispo"}, "clip has no authority with loss_type='cispo'"),
        (ClipHighActuator(), {"loss_type": "cispo"}, "must be > 1 with .*caps the ratio.*or loss_type: dapo"),
        (
            ClipHighActuator(),
            {"importance_sampling_level": "sequence"},
            "`high` of clip_high must be <= 0.01 with .*: set `low`, `high`",
        ),
        (
            ClipActuator(),
            {"importance_sampling_level": "sequence"},
            "`epsilon` must be <= 0.01 for clip with .*got 0.2: set epsilon and epsilon_h",
        ),
        (
            ClipHighActuator(),
            {"delta": 1.3},
            "<= delta - 1, got 0.4 with delta=1.3: set it to at most 0.3, or raise delta",
        ),
        (
            ClipHighActuator(),
            {"epsilon_high": 0.5},
            r"control of ClipHighActuator must begin within its bounds \[0.1, 0.4\], got 0.5 for epsilon_high",
        ),
        (ClipActuator(low=-0.8), {}, "epsilon_low must be < 1, got 1.26.*`low` to at least -0.69"),
        (
            ClipActuator(low=0.1),
            {},
            "ClipActuator must begin within its bounds .0.1, 1.3., got 0.0 for epsilon_low, epsilon_high",
        ),
        (ClipActuator(), {"delta": 1.5}, "epsilon_high must be <= delta - 1, got up to 5.59 with delta=1.5"),
        (
            ClipActuator(),
            {"epsilon": 0.0, "epsilon_high": 0.0},
            "`epsilon` must be a finite number > 0, got 0.0: set 0.2",
        ),
        (ClipHighActuator(), {"epsilon_high": -1.0}, "`epsilon_high` must be a finite number > 0, got -1.0: set 0.28"),
        (
            EntropyBonusActuator(),
            {"entropy_coef": 0.01},
            "`entropy_coef` must be 0 with entropy_bonus, got 0.01.*set entropy_coef: 0",
        ),
        (
            EntropyBonusActuator(low=0.01, high=0.1),
            {},
            "EntropyBonusActuator must begin within its bounds .0.01, 0.1., got 0.0 for entropy_bonus",
        ),
    ],
)
def test_no_authority_is_refused(actuator, changes, message):
    loop = EntropyLoop(ConstantSchedule(0.4), PIDController(), actuator)
    with pytest.raises(ValueError, match=message):
        loop.begin(Args(**changes))


@pytest.mark.parametrize("kind", [ClipHighActuator, ClipActuator, EntropyBonusActuator])
@pytest.mark.parametrize("bounds", [(0.4, 0.1), (0.2, 0.2), (0.1, float("inf"))])
def test_inverted_bounds_are_refused(kind, bounds):
    with pytest.raises(ValueError, match="set `low` below `high`"):
        kind(*bounds)


def test_clip_bound_below_zero_is_refused():
    with pytest.raises(ValueError, match="`low` must be a finite number > 0, got -0.1: set 0.10"):
        ClipHighActuator(low=-0.1)


@pytest.mark.parametrize(
    ("beta", "message"),
    [
        (0.0, "no reference model is loaded.*set beta"),
        (0.5, "KLCoefActuator must begin within its bounds .* got 0.5 for beta"),
    ],
)
def test_kl_coef_needs_a_reference_model(beta, message):
    loop = EntropyLoop(ConstantSchedule(0.4), PIDController(), KLCoefActuator())
    with pytest.raises(ValueError, match=message):
        loop.begin(Args(beta=beta))


def test_kl_coef_of_zero_is_refused():
    with pytest.raises(
        ValueError, match="`low` must be a finite number > 0, got 0.0: set 0.0001, because TRL loads no reference"
    ):
        KLCoefActuator(low=0.0)


def test_clip_beyond_a_thousandfold_is_refused():
    with pytest.raises(ValueError, match="exponents of ten from -3 to 3, got -1000 and 1.3: set both within -3 and 3"):
        ClipActuator(low=-1000)
