"""The kinds that a block may name."""

from ..actuators import (
    adaptive_target,
    ce_gppo,
    clamped_bonus,
    clip,
    covariance,
    difficulty_bonus,
    entropy_bonus,
    flex_clip,
    kl_coef,
    pass_at_k,
    quantile_baseline,
    record_only,
    repo,
    sample_filter,
    sample_weight,
)
from ..control import algorithm1, band, double_halve, hysteresis, open_loop, pid, self_tuned, shapes


# A new part needs a file (named in the docstring of its folder), a test and a row here.
PARTS: dict[str, dict[str, type]] = {
    "entropy_schedule": {
        "constant": shapes.ConstantSchedule,
        "linear": shapes.LinearSchedule,
        "cosine": shapes.CosineSchedule,
        "stable_anneal": shapes.StableAnnealSchedule,
        "piecewise": shapes.PiecewiseSchedule,
    },
    "entropy_controller": {
        "sign_step": algorithm1.SignStepController,
        "pid": pid.PIDController,
        "self_tuned_pid": self_tuned.SelfTunedPIDController,
        "dead_band": band.DeadBandController,
        "band_sign": band.BandSignController,
        "double_halve": double_halve.DoubleHalveController,
        "hysteresis": hysteresis.HysteresisController,
        "pattern": open_loop.PatternController,
        "hold": open_loop.HoldController,
        "follow": open_loop.FollowController,
    },
    "entropy_actuator": {
        "clip_high": clip.ClipHighActuator,
        "clip": clip.ClipActuator,
        "entropy_bonus": entropy_bonus.EntropyBonusActuator,
        "kl_coef": kl_coef.KLCoefActuator,
        "adaptive_target": adaptive_target.AdaptiveTargetActuator,
        "record_only": record_only.RecordOnlyActuator,
        "difficulty_bonus": difficulty_bonus.DifficultyBonusActuator,
        "clamped_bonus": clamped_bonus.ClampedBonusActuator,
        "sample_filter": sample_filter.SampleFilterActuator,
        "sample_weight": sample_weight.SampleWeightActuator,
        "repo": repo.RepoActuator,
        "flex_clip": flex_clip.FlexClipActuator,
        "ce_gppo": ce_gppo.CEGPPOActuator,
        "quantile_baseline": quantile_baseline.QuantileBaselineActuator,
        "pass_at_k": pass_at_k.PassAtKActuator,
        "clip_cov": covariance.ClipCovActuator,
        "kl_cov": covariance.KLCovActuator,
    },
}
BLOCKS = tuple(PARTS)  # schedule, controller, actuator
