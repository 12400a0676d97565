"""What the `kind` of each block may name."""

from ..actuators.adaptive_target import AdaptiveTargetActuator
from ..actuators.clamped_bonus import ClampedBonusActuator
from ..actuators.clip import ClipActuator, ClipHighActuator
from ..actuators.covariance import ClipCovActuator, KLCovActuator
from ..actuators.difficulty_bonus import DifficultyBonusActuator
from ..actuators.entropy_bonus import EntropyBonusActuator
from ..actuators.kl_coef import KLCoefActuator
from ..actuators.record_only import RecordOnlyActuator
from ..actuators.sample_filter import SampleFilterActuator
from ..actuators.sample_weight import SampleWeightActuator
from ..control.algorithm1 import SignStepController
from ..control.band import BandSignController, DeadBandController
from ..control.open_loop import FollowController, HoldController
from ..control.pid import PIDController
from ..control.self_tuned import SelfTunedPIDController
from ..control.shapes import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    StableAnnealSchedule,
)


# What the `kind` of each block may name. A new part is one file, one test and one row here.
PARTS: dict[str, dict[str, type]] = {
    "entropy_schedule": {
        "constant": ConstantSchedule,
        "linear": LinearSchedule,
        "cosine": CosineSchedule,
        "stable_anneal": StableAnnealSchedule,
        "piecewise": PiecewiseSchedule,
    },
    "entropy_controller": {
        "sign_step": SignStepController,
        "pid": PIDController,
        "self_tuned_pid": SelfTunedPIDController,
        "dead_band": DeadBandController,
        "band_sign": BandSignController,
        "hold": HoldController,
        "follow": FollowController,
    },
    "entropy_actuator": {
        "clip_high": ClipHighActuator,
        "clip": ClipActuator,
        "entropy_bonus": EntropyBonusActuator,
        "kl_coef": KLCoefActuator,
        "adaptive_target": AdaptiveTargetActuator,
        "record_only": RecordOnlyActuator,
        "difficulty_bonus": DifficultyBonusActuator,
        "clamped_bonus": ClampedBonusActuator,
        "sample_filter": SampleFilterActuator,
        "sample_weight": SampleWeightActuator,
        "clip_cov": ClipCovActuator,
        "kl_cov": KLCovActuator,
    },
}


BLOCKS = tuple(PARTS)  # schedule, controller, actuator


EXAMPLES = {
    "entropy_schedule": '{"kind": "constant", "target": 0.4}',
    "entropy_controller": '{"kind": "pid", "kp": 1.0}',
    "entropy_actuator": '["clip_high", {"kind": "entropy_bonus", "high": 0.5}]',
    "curriculum": '[{"start": "onset", "num_generations": 32}]',
}
