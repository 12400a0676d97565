"""The published methods by name: each a schedule, a controller and an actuator, and what it sets of TRL's fields.

`docs/methods.md` has the equations, where each number comes from, and what differs from the authors' code. A method
owns its controller and its actuator; the schedule, and the arguments of all three, are the user's to change.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from ..common.nearest import nearest
from .parser import read_json
from .registry import BLOCKS


@dataclass(frozen=True)
class Method:
    """
    A point in schedule x controller x actuator.

    Args:
        title (`str`):
            What it is, in a line.
        schedule (`dict`, *optional*), controller (`dict`, *optional*), actuator (`dict`, *optional*):
            Its blocks, as in a recipe. Without a schedule of its own the loop is open where the user gives none.
        settings (`Callable`):
            From the configuration to TRL's fields; each counts where the field has its default.
        always (`bool`):
            Whether controller and actuator are there without a schedule, too.
        replaceable (`bool`):
            Whether a recipe may name other kinds of controller and actuator: our default, which is no published method.
    """

    title: str
    schedule: dict[str, Any] | None
    controller: dict[str, Any]
    actuator: dict[str, Any]
    settings: Callable[[Any], dict[str, Any]] = field(default=lambda args: {})
    always: bool = False
    replaceable: bool = False


def _dapo_cache(args: Any) -> int:
    """DAPO's 4,096 of 20,480 tokens, unless the user gives a number."""
    if args.overlong_cache is not None:
        return args.overlong_cache
    if args.max_completion_length is None:
        raise ValueError(
            "`max_completion_length` is None, and method dapo punishes what comes near it: set it, or overlong_cache: 0"
        )
    return max(args.max_completion_length // 5, 1)


# the paper advises 0.3 to 0.5 nats and annealing over the last tenth; it gives no end
STABLE_ANNEAL = {"kind": "stable_anneal", "target": 0.4, "end": 0.05, "ratio": 0.1}
NONE = ("none", "null")  # how a command line takes a block away
OPEN_LOOP = ({"kind": "hold"}, {"kind": "record_only"})

METHODS: dict[str, Method] = {
    "grpo": Method("GRPO, clip 0.2, without control (arXiv 2402.03300)", None, *OPEN_LOOP),
    "dapo": Method(
        "DAPO: clip-higher, token mean, dynamic sampling, overlong punishment (arXiv 2503.14476)",
        None,
        *OPEN_LOOP,
        lambda args: {
            "epsilon_high": 0.28,
            "dynamic_sampling_tries": 10,
            "overlong_cache": _dapo_cache(args),
        },
    ),
    "es": Method(
        "ES, the paper: Algorithm 1 on the upper clip (ACL Findings 2026)",
        STABLE_ANNEAL,
        {"kind": "sign_step", "delta": 0.005, "window": 5},
        {"kind": "clip_high", "low": 0.10, "high": 0.40},
        lambda args: {"epsilon_high": 0.28},
    ),
    "es_pid": Method(
        "ES, our default: a self-tuned PID on a signed entropy bonus",
        STABLE_ANNEAL,
        {"kind": "self_tuned_pid"},
        {"kind": "entropy_bonus"},
        lambda args: {"epsilon_high": 0.28},
        replaceable=True,
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
        lambda args: {
            "use_adaptive_entropy": True,
            "entropy_coef_delta": 1e-4 * args.entropy_bonus_scale,
            "entropy_coef_min": 0.0,
            "entropy_coef_max": 5e-3 * args.entropy_bonus_scale,
        },
    ),
    "clip_cov": Method(
        "Clip-Cov: no gradient for a few tokens of high covariance (arXiv 2505.22617)",
        None,
        {"kind": "hold"},
        {"kind": "clip_cov"},
        lambda args: {"epsilon": 1.0, "epsilon_high": 1.0, "delta": 10.0},
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


def apply_method(args: Any) -> None:
    """
    Fill in what the method of a configuration names and the user has left open.

    Args:
        args (`ESGRPOConfig`):
            The configuration, changed in place.

    Raises:
        ValueError: for an unknown method, and for a block of another kind than the method's.
    """
    if args.method is None:
        return
    if not isinstance(args.method, str) or args.method not in METHODS:
        known = ", ".join(METHODS)
        raise ValueError(
            f"there is no method {args.method!r}{nearest(str(args.method), METHODS)}: set {known}, or none"
        )
    method = METHODS[args.method]
    defaults = {f.name: f.default for f in fields(args)}
    for name, value in method.settings(args).items():
        if getattr(args, name) == defaults[name]:
            setattr(args, name, value)
    given = {name: getattr(args, name) for name in BLOCKS}
    schedule = None if given["entropy_schedule"] in NONE else method.schedule
    blocks = dict(zip(BLOCKS, (schedule, method.controller, method.actuator), strict=True))
    given = {name: None if block in NONE else block for name, block in given.items()}
    if schedule is None and given["entropy_schedule"] is None and not method.always:
        blocks = dict.fromkeys(BLOCKS)
    for name, block in blocks.items():
        setattr(args, name, _merged(name, given[name], block, args.method))


def describe_method(args: Any) -> str:
    """The method of a configuration and what TRL's fields are with it, for people."""
    method = METHODS[args.method]
    values = ", ".join(f"{name} {getattr(args, name):g}" for name in method.settings(args))
    return f"method      {args.method}: {method.title}" + (f"\n            with {values}" if values else "")


def _merged(name: str, given: Any, own: dict[str, Any] | None, method: str) -> Any:
    """The user's block, with what it leaves open from the method's."""
    if isinstance(given, str):
        given = read_json(name, given) if given.startswith(("{", "[")) else {"kind": given}
    if given is None:
        return own
    if name == "entropy_schedule" and (own is None or not isinstance(given, dict) or "kind" in given):
        return given  # the user's own, whole: the method's may be relative
    if isinstance(given, dict) and own is not None and given.get("kind", own["kind"]) == own["kind"]:
        return {**own, **given}
    if own is not None and METHODS[method].replaceable:
        return given
    if own is None:
        raise ValueError(
            f"method {method} holds entropy to no target, and the recipe sets `{name}`: remove it, or choose a method "
            "that controls, or set entropy_schedule for a target beside which entropy is recorded"
        )
    raise ValueError(
        f"method {method} has the {name.removeprefix('entropy_')} {own['kind']}, and the recipe sets `{name}` to "
        f"{given!r}: remove the one or the other. Blocks without a method go together as they please"
    )
