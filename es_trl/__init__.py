"""es_trl: entropy control in reinforcement learning of language models, on TRL's `GRPOTrainer`.

Names load on first use, so that schedules and controllers can be used without importing torch.
"""

from .common.lazy import lazy


__version__ = "0.1.0"

_MODULES = {
    "ESGRPOConfig": "config.config",
    "ESGRPOTrainer": "trainer.trainer",
    "EntropyScheduler": "trainer.callbacks",
    "Curriculum": "trainer.callbacks",
    "Decision": "trainer.callbacks",
    "Stage": "curriculum.stages",
    "RolloutCallback": "trainer.callbacks",
    "EntropyLoop": "control.loop",
    "ConstantSchedule": "control.shapes",
    "LinearSchedule": "control.shapes",
    "CosineSchedule": "control.shapes",
    "StableAnnealSchedule": "control.shapes",
    "PiecewiseSchedule": "control.shapes",
    "CallableSchedule": "control.schedules",
    "sketch": "control.sketch",
    "Controller": "control.base",
    "Actuator": "control.base",
    "SignStepController": "control.algorithm1",
    "PIDController": "control.pid",
    "SelfTunedPIDController": "control.self_tuned",
    "ClipHighActuator": "actuators.clip",
    "ClipActuator": "actuators.clip",
    "EntropyBonusActuator": "actuators.entropy_bonus",
    "KLCoefActuator": "actuators.kl_coef",
    "AdaptiveTargetActuator": "actuators.adaptive_target",
    "DeadBandController": "control.band",
    "BandSignController": "control.band",
    "DoubleHalveController": "control.double_halve",
    "HysteresisController": "control.hysteresis",
    "PatternController": "control.open_loop",
    "HoldController": "control.open_loop",
    "FollowController": "control.open_loop",
    "DifficultyBonusActuator": "actuators.difficulty_bonus",
    "ClampedBonusActuator": "actuators.clamped_bonus",
    "SampleFilterActuator": "actuators.sample_filter",
    "SampleWeightActuator": "actuators.sample_weight",
    "RepoActuator": "actuators.repo",
    "FlexClipActuator": "actuators.flex_clip",
    "CEGPPOActuator": "actuators.ce_gppo",
    "QuantileBaselineActuator": "actuators.quantile_baseline",
    "PassAtKActuator": "actuators.pass_at_k",
    "ClipCovActuator": "actuators.covariance",
    "KLCovActuator": "actuators.covariance",
    "Effect": "control.base",
}
__all__ = list(_MODULES)

__getattr__, __dir__ = lazy(__name__, _MODULES)
