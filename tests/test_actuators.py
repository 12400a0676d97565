import pytest
from test_control import Args

from es_trl.actuators.clip import ClipActuator, ClipHighActuator
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.kl_coef import KLCoefActuator


def args(**changes):
    made = Args()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_clip_high_moves_the_upper_bound():
    assert ClipHighActuator().initial(args()) == 0.28
    assert ClipHighActuator().initial(args(epsilon_high=None)) == 0.2
    assert ClipHighActuator().settings(0.35, args()) == {"epsilon_high": 0.35}


def test_clip_moves_both_bounds_against_each_other():
    clip = ClipActuator()
    assert clip.initial(args()) == 0.0
    assert clip.settings(0.0, args()) == {"epsilon_low": 0.2, "epsilon_high": 0.28}
    assert clip.settings(1.0, args()) == pytest.approx({"epsilon_low": 0.02, "epsilon_high": 2.8})
    assert clip.settings(-0.5, args(epsilon_high=None)) == pytest.approx(
        {"epsilon_low": 0.2 * 10**0.5, "epsilon_high": 0.2 / 10**0.5}
    )


def test_entropy_bonus_is_its_coefficient():
    assert EntropyBonusActuator().initial(args()) == 0.0
    assert EntropyBonusActuator().settings(-0.01, args()) == {"entropy_bonus": -0.01}


def test_kl_coef_is_beta():
    assert KLCoefActuator().initial(args(beta=0.005)) == 0.005
    assert KLCoefActuator().settings(0.02, args(beta=0.005)) == {"beta": 0.02}


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
    actuator.check(args(**changes))


@pytest.mark.parametrize(
    ("actuator", "changes", "message"),
    [
        (
            ClipHighActuator(),
            {"steps_per_generation": 1},
            "1 update a rollout.*steps_per_generation to 2 or .*: 16",
        ),
        (ClipActuator(), {"steps_per_generation": 1}, "clip has no authority with 1 update a rollout"),
        (
            ClipHighActuator(),
            {"loss_type": "sapo"},
            "no authority with loss_type='sapo'.*or the actuator to entropy_b",
        ),
        (ClipHighActuator(), {"loss_type": "vespo"}, "no authority with loss_type='vespo'"),
        (ClipActuator(), {"loss_type": "cispo"}, "clip has no authority with loss_type='cispo'"),
        (ClipHighActuator(), {"loss_type": "cispo"}, "cap on the ratio.*above 1.*or loss_type: dapo"),
        (ClipHighActuator(), {"importance_sampling_level": "sequence"}, "would never bind. Set `low`, `high`"),
        (ClipActuator(), {"importance_sampling_level": "sequence"}, "neither bound would bind"),
        (ClipHighActuator(), {"delta": 1.3}, "Set `high` to at most 0.3, or raise delta"),
        (
            ClipHighActuator(),
            {"epsilon_high": 0.5},
            r"epsilon_high begins at 0.5, outside its bounds \[0.1, 0.4\]",
        ),
        (ClipActuator(low=-0.8), {}, "makes epsilon_low 1.26.*`low` to at least -0.69"),
        (ClipActuator(low=0.1), {}, "the control begins at 0, outside its bounds"),
        (ClipActuator(), {"delta": 1.5}, "epsilon_high up to 5.59 with delta=1.5"),
        (ClipActuator(), {"epsilon": 0.0, "epsilon_high": 0.0}, "epsilon is 0.0, and a clip bound is a finite number"),
        (ClipHighActuator(), {"epsilon_high": -1.0}, "epsilon_high is -1.0, and a clip bound is a finite number"),
        (EntropyBonusActuator(), {"loss_type": "foo"}, "loss_type is 'foo', which TRL has not: set one of grpo"),
        (EntropyBonusActuator(), {"entropy_coef": 0.01}, "two bonuses would act at once.*Set entropy_coef: 0"),
        (EntropyBonusActuator(low=0.01, high=0.1), {}, "the coefficient begins at 0"),
    ],
)
def test_no_authority_is_refused(actuator, changes, message):
    with pytest.raises(ValueError, match=message):
        actuator.check(args(**changes))


@pytest.mark.parametrize("kind", [ClipHighActuator, ClipActuator, EntropyBonusActuator])
@pytest.mark.parametrize("bounds", [(0.4, 0.1), (0.2, 0.2), (0.1, float("inf"))])
def test_inverted_bounds_are_refused(kind, bounds):
    with pytest.raises(ValueError, match="set `low` below `high`"):
        kind(*bounds)


def test_clip_bound_below_zero_is_refused():
    with pytest.raises(ValueError, match="`low` is -0.1, and a clip bound is above 0"):
        ClipHighActuator(low=-0.1)


@pytest.mark.parametrize(
    ("beta", "message"), [(0.0, "no reference model is loaded.*set beta"), (0.5, "outside its bo")]
)
def test_kl_coef_needs_a_reference_model(beta, message):
    with pytest.raises(ValueError, match=message):
        KLCoefActuator().check(args(beta=beta))


@pytest.mark.parametrize("actuator", [KLCoefActuator(), EntropyBonusActuator()])
def test_a_loss_that_trl_has_not_is_refused(actuator):
    with pytest.raises(ValueError, match="loss_type is 'nonsense', which TRL has not: set one of grpo"):
        actuator.check(args(beta=0.01, loss_type="nonsense"))


def test_kl_coef_of_zero_is_refused():
    with pytest.raises(ValueError, match="`low` is 0.0, and TRL leaves the reference model out where beta is 0"):
        KLCoefActuator(low=0.0)


def test_clip_beyond_a_thousandfold_is_refused():
    with pytest.raises(ValueError, match="powers of ten: set both within -3 and 3"):
        ClipActuator(low=-1000)
