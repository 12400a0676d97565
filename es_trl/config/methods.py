"""The published methods by name: each has a schedule, a controller, an actuator and values of some of TRL's fields.

`presets.py` merges a method with the user's own values. `docs/methods/index.md` gives the equations, the source of each
number, and the differences from the authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .registry import BLOCKS


@dataclass(frozen=True)
class Method:
    """
    A combination of schedule, controller and actuator, with values of TRL's fields.

    Args:
        title (`str`):
            Description in one line.
        schedule (`dict`, *optional*):
            Block of the schedule, as in a recipe. If it is `None` and the user gives no schedule, there is no target.
        controller (`dict`):
            Block of the controller.
        actuator (`dict`):
            Block of the actuator.
        settings (`Mapping[str, Any]`, *optional*, defaults to `{}`):
            Values for fields of the configuration that the user has not named. A function gets the configuration and
            returns the value, or `None` if the configuration does not determine it.
        needs (`tuple[str, ...]`, *optional*, defaults to `()`):
            Names of the `settings` that the user may not change.
        always (`bool`, *optional*, defaults to `False`):
            Whether the controller and the actuator are used without a schedule, too.
        controllers (`tuple[str, ...]`, *optional*, defaults to `()`):
            Other kinds of controller that the authors have published for the method, which the user may name.
        replaceable (`bool`, *optional*, defaults to `False`):
            Whether the user may name other kinds of controller and actuator. Only our own default, `es_pid`, allows it.
    """

    title: str
    schedule: dict[str, Any] | None
    controller: dict[str, Any]
    actuator: dict[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    always: bool = False
    controllers: tuple[str, ...] = ()
    replaceable: bool = False

    @property
    def blocks(self) -> dict[str, dict[str, Any] | None]:
        """The three blocks by the names of their fields."""
        return dict(zip(BLOCKS, (self.schedule, self.controller, self.actuator), strict=True))

    def values(self, args: Any) -> dict[str, Any]:
        """Return the values of `settings` for the configuration `args`."""
        return {name: own(args) if callable(own) else own for name, own in self.settings.items()}


def _dapo_cache(args: Any) -> int | None:
    """Return DAPO's overlong cache, which is a fifth of the longest completion (4,096 of 20,480 tokens)."""
    return None if args.max_completion_length is None else max(args.max_completion_length // 5, 1)


# The paper advises a target of 0.3 to 0.5 nats and an anneal phase of the last tenth. The end of 0.05 is our choice.
STABLE_ANNEAL = {"kind": "stable_anneal", "target": 0.4, "end": 0.05, "ratio": 0.1}
# completions are samples of the whole policy
WHOLE_POLICY = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
OPEN_LOOP = ({"kind": "hold"}, {"kind": "record_only"})

METHODS: dict[str, Method] = {
    "grpo": Method("GRPO, clip 0.2, without control (arXiv 2402.03300)", None, *OPEN_LOOP),
    "dapo": Method(
        "DAPO: clip-higher, token mean, dynamic sampling, overlong punishment (arXiv 2503.14476)",
        None,
        *OPEN_LOOP,
        {
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
            **WHOLE_POLICY,
            "dynamic_sampling_tries": 10,
            "overlong_cache": _dapo_cache,
        },
    ),
    "es": Method(
        "ES, the paper: Algorithm 1 on the upper clip (ACL Findings 2026)",
        STABLE_ANNEAL,
        {"kind": "sign_step", "delta": 0.005, "window": 5},
        {"kind": "clip_high", "low": 0.10, "high": 0.40},
        {"epsilon_high": 0.28},
    ),
    "es_pid": Method(
        "ES, our default: a self-tuned PID on a signed entropy bonus",
        STABLE_ANNEAL,
        {"kind": "self_tuned_pid"},
        {"kind": "entropy_bonus"},
        {"epsilon_high": 0.28},
        replaceable=True,
    ),
    "mai": Method(
        "MAI-Thinking-1: steps of a wide upper clip after every update (technical report, June 2026)",
        {"kind": "constant", "target": 0.3},
        {"kind": "sign_step", "delta": 0.25, "window": 1, "warmup": 0},
        # 1 / (1 - epsilon) - 1 + k with k from 0 to 2.5: the lower end is epsilon's opposite in the log of the ratio
        {"kind": "clip_high", "low": 1.5, "high": 4.0},
        {"epsilon": 0.6, "epsilon_high": 1.5, "delta": 50.0, "beta": 0.0, "entropy_sensor": "update"},
    ),
    "aer": Method(
        "AER-style, a reconstruction: a bonus by difficulty, target relative to the first entropy (arXiv 2510.10959)",
        {"kind": "constant", "target": 0.4, "relative": True},
        {"kind": "dead_band", "gain": 0.002},
        {"kind": "difficulty_bonus"},
    ),
    "aent": Method(
        "AEnt: a dead band on the clamped entropy and its bonus (arXiv 2509.03493)",
        {"kind": "constant", "target": 0.195},
        {"kind": "dead_band", "gain": 0.002, "width": 0.09, "warmup": 30},
        {"kind": "clamped_bonus"},
    ),
    "entrocraft": Method(
        "Entrocraft: completions of one sign outside a band (arXiv 2604.26326)",
        {"kind": "linear", "start": 0.65, "end": 0.45},
        {"kind": "band_sign", "width": 0.1},
        {"kind": "sample_filter"},
    ),
    "entropic": Method(
        "EntroPIC: PI on the weight of positive against negative completions (arXiv 2511.15248)",
        {"kind": "constant", "target": 0.1},
        {"kind": "pid", "kp": 1.0, "ki": 0.01},
        {"kind": "sample_weight"},
    ),
    "skywork": Method(
        "Skywork-OR1: TRL's adaptive entropy coefficient with Skywork's numbers (arXiv 2505.22312)",
        {"kind": "constant", "target": 0.2},
        {"kind": "follow"},
        {"kind": "adaptive_target"},
        {
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
            **WHOLE_POLICY,
        },
        needs=("use_adaptive_entropy",),
    ),
    "repo_r": Method(
        "REPO-R: advantages by the surprise of a token, doubled and halved strength (arXiv 2603.11682)",
        {"kind": "constant", "target": 1.0, "relative": True},
        {"kind": "double_halve", "smallest": 1e-4},
        {"kind": "repo", "start": 1e-3},
    ),
    "flexec": Method(
        "FlexEC: a clip by the probability of a token; more entropy first, then less (arXiv 2602.09782)",
        None,
        {"kind": "pattern"},
        {"kind": "flex_clip"},
        {"epsilon": 0.2, "epsilon_high": 0.2},
        always=True,
        controllers=("hysteresis",),
    ),
    "ce_gppo": Method(
        "CE-GPPO: a bounded gradient for tokens beyond the clip (arXiv 2509.20712)",
        None,
        {"kind": "hold"},
        {"kind": "ce_gppo"},
        {"epsilon": 0.2, "epsilon_high": 0.2},
        always=True,
    ),
    "qae": Method(
        "QAE: a quantile of the rewards as the baseline of the advantages (arXiv 2509.22611)",
        None,
        {"kind": "hold"},
        {"kind": "quantile_baseline"},
        {"epsilon_high": 0.28},
        always=True,
    ),
    "pass_at_k": Method(
        "pass@k training: the advantages of groups of k completions (arXiv 2508.10751)",
        None,
        {"kind": "hold"},
        {"kind": "pass_at_k"},
        always=True,
    ),
    "clip_cov": Method(
        "Clip-Cov: no gradient for a few tokens of high covariance (arXiv 2505.22617)",
        None,
        {"kind": "hold"},
        {"kind": "clip_cov"},
        {"epsilon": 1.0, "epsilon_high": 1.0, "delta": 10.0},
        always=True,
    ),
    "kl_cov": Method(
        "KL-Cov: a penalty on how far tokens of high covariance move (arXiv 2505.22617)",
        None,
        {"kind": "hold"},
        {"kind": "kl_cov"},
        always=True,
    ),
}
