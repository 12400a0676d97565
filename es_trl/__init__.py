"""es_trl: entropy control in reinforcement learning of language models, on TRL's `GRPOTrainer`.

Names load on first use, so that schedules and controllers can be used without importing torch.
"""

from .lazy import lazy


__version__ = "0.1.0"

_MODULES = {
    "ESGRPOConfig": "config",
    "ESGRPOTrainer": "trainer",
    "EntropyScheduler": "callbacks",
    "Curriculum": "callbacks",
    "Stage": "curriculum",
    "RolloutCallback": "callbacks",
    "EntropyLoop": "control",
    "ConstantSchedule": "schedules",
    "LinearSchedule": "schedules",
    "CosineSchedule": "schedules",
    "StableAnnealSchedule": "schedules",
    "PiecewiseSchedule": "schedules",
    "CallableSchedule": "schedules",
    "sketch": "preview",
    "SignStepController": "controllers",
    "PIDController": "controllers",
    "SelfTunedPIDController": "self_tuned",
    "ClipHighActuator": "actuators",
    "ClipActuator": "actuators",
    "EntropyBonusActuator": "actuators",
    "KLCoefActuator": "actuators",
    "AdaptiveTargetActuator": "open_loop",
    "DeadBandController": "band",
    "BandSignController": "band",
    "HoldController": "open_loop",
    "FollowController": "open_loop",
    "DifficultyBonusActuator": "effects",
    "ClampedBonusActuator": "effects",
    "SampleFilterActuator": "effects",
    "SampleWeightActuator": "effects",
    "ClipCovActuator": "effects",
    "KLCovActuator": "effects",
    "Effect": "effects",
}
__all__ = list(_MODULES)

__getattr__, __dir__ = lazy(__name__, _MODULES)
