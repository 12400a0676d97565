"""Base classes of controllers and actuators.

A controller turns target and measured entropy into a control, once per rollout; an actuator turns the control into
settings of the trainer or acts on the tensors of its loss.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", Algorithm 1 and section 4.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .values import check_bounds


@dataclass(frozen=True)
class PlantKnowledge:
    """The knowledge of the plant that a learning controller has after a rollout."""

    acts: bool  # whether its control is known to move entropy
    push: float  # change of entropy per rollout by the present control, as a share of the entropy
    strength: float  # change per rollout that the whole range of the control surely makes, as such a share
    dead_time: int  # rollouts from a control to the first entropy that shows it, at least 1
    estimate: dict[str, float]  # learned numbers, for the history


class Controller:
    """
    Turns target and entropy into a control.

    A subclass defines `begin`, `update`, `rebase`, `state_dict` and `load_state_dict`. One that learns overrides
    `take_over` and `knowledge` as well. It holds nothing but numbers, in the unit of its actuator's control.
    """

    needs_target: bool = True
    """Whether it needs a schedule."""

    gives_sign: bool = False
    """Whether its control says more, less or neither, and nothing else."""

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh from the control `initial`, to move within [`low`, `high`]."""
        raise NotImplementedError

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> float:
        """
        Return the control for the updates of this rollout, within the bounds.

        Args:
            target (`float`), entropy (`float`), slope (`float`):
                Scheduled and measured entropy, and the target's change until the next rollout, nats.
            noise (`float`, *optional*):
                Standard error of the measured entropy, nats; `None` where it is not known.
        """
        raise NotImplementedError

    def rebase(self, target: float, entropy: float, noise: float | None) -> None:
        """Forget past entropies and keep the control: `entropy` is the first on other prompts or lengths."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        raise NotImplementedError

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        """Begin with another actuator; `holds` says whether the last one stays at its control or went back."""
        self.begin(initial, low, high)

    @property
    def knowledge(self) -> PlantKnowledge | None:
        """Knowledge of the plant; `None` where the controller does not learn, or has seen nothing yet."""
        return None


@dataclass
class ActuatorArgs:
    """The fields of `GRPOConfig` that actuators read, with TRL's defaults; a configuration serves as it is."""

    epsilon: float = 0.2
    epsilon_high: float | None = None
    delta: float | None = None
    off_policy_mask_threshold: float | None = None
    entropy_coef: float = 0.0
    use_adaptive_entropy: bool = False
    entropy_target: float = 0.2
    beta: float = 0.0
    loss_type: str = "dapo"
    importance_sampling_level: str = "token"
    steps_per_generation: int = 1
    num_iterations: int = 1
    gradient_accumulation_steps: int = 1


@dataclass(frozen=True)
class Kept:
    """Share of a rollout's completions that are trained on, and why none is left out where the control asks for it."""

    share: float
    message: str | None = None


class Actuator:
    """
    Turns a control into attributes of the trainer, or acts on the tensors of its loss.

    A subclass is a frozen dataclass with `low` and `high`, the bounds of its control. It names its `setting`, or
    defines `settings`, and overrides the rest as needed. One that overrides `kept`, `advantages` or `bonus` reads its
    settings there, by names of its own; the settings of the others are attributes of the trainer.
    """

    low: float
    high: float

    setting: str
    """Name of its only setting, whose value is the control; one with other settings defines `settings`."""

    clamp: float = 0.0
    """Share of the vocabulary, lowest logits first, that is left out of the entropy which the loop holds."""

    alone: bool = False
    """Whether it acts at the control it begins with, and so cannot wait in a chain."""

    needs_sign: bool = False
    """Whether it reads the sign of the control alone, and so needs a controller that gives one."""

    def __post_init__(self) -> None:
        check_bounds(type(self).__name__, getattr(self, "low", None), getattr(self, "high", None))

    @property
    def reads_settings(self) -> bool:
        """Whether it reads its settings itself, which then need not be attributes of the trainer."""
        own = ("kept", "advantages", "bonus")
        return any(getattr(type(self), name) is not getattr(Actuator, name) for name in own)

    def initial(self, args: ActuatorArgs) -> float:
        """Return the control whose settings are those of the configuration."""
        return 0.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Return names with their values. More control means more entropy."""
        return {self.setting: control}

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` where the actuator has no authority, or less than its bounds say."""

    def columns(self, scores: Any, args: ActuatorArgs) -> dict[str, Any]:
        """Return columns for the batch of a rollout, one row per completion of all processes, from its `Scores`."""
        return {}

    def kept(self, batch: Any, settings: Mapping[str, float]) -> Kept | None:
        """Return how many completions are used; `None` where all are. Asked once per rollout."""
        return None

    def advantages(self, batch: Any, settings: Mapping[str, float]) -> Any:
        """Return the advantages of a `MicroBatch` to train on, of shape `(batch,)` or `(batch, tokens)`."""
        return batch.inputs["advantages"]

    def bonus(self, batch: Any, settings: Mapping[str, float]) -> Any:
        """Return the term that is added to the objective of a micro-batch, a tensor with gradient or 0."""
        return 0.0


Effect = Actuator
