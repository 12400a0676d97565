"""Controllers: target and measured entropy in, control out, once a rollout.

Pure state machines on the standard library. A controller works in the unit of its actuator's control, whose bounds and
starting value [`Controller.begin`] hands over; it holds nothing but numbers, which `state_dict` returns.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", Algorithm 1 and section 4.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Controller:
    """
    What the control loop asks of a controller.

    A controller defines `begin`, `update`, `rebase`, `state_dict` and `load_state_dict`; the rest is for one that
    learns.
    `dead_time` counts the rollouts from a control to the first entropy that shows it. One that `needs_target` cannot
    run without a schedule; one that `gives_sign` has nothing to say but more, less or neither.
    """

    dead_time = 1
    needs_target = True
    gives_sign = False

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh from the control `initial`, to move within [`low`, `high`]."""
        raise NotImplementedError

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        """
        Go on with another actuator from the control `initial`, to move within [`low`, `high`].

        Args:
            initial (`float`), low (`float`), high (`float`):
                As in [`begin`].
            holds (`bool`):
                Whether the last actuator stays at its control, or has gone back to where it began.
        """
        self.begin(initial, low, high)

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> float:
        """
        The control for the updates of this rollout.

        Args:
            target (`float`), entropy (`float`):
                Scheduled and measured entropy of this rollout, nats.
            slope (`float`):
                What the target will have changed by at the next rollout, nats.
            noise (`float`, *optional*):
                Standard error of the measured entropy, nats; `None` where it is not known.

        Returns:
            `float`: the control, within the bounds.
        """
        raise NotImplementedError

    def rebase(self, target: float, entropy: float, noise: float | None) -> None:
        """
        Take `entropy` for the first of a new series, measured on other prompts or lengths than all before.

        That it differs from the last one says nothing of what the control did. The control stays as it is, and what
        the controller knew of past entropies is forgotten; the arguments are those of [`update`].
        """
        raise NotImplementedError

    @property
    def has_authority(self) -> bool:
        """Whether the control is known to move entropy; `True` where the controller cannot tell."""
        return True

    @property
    def push(self) -> float:
        """What the present control moves entropy by in a rollout, as a share of it; 0 where that is not known."""
        return 0.0

    @property
    def strength(self) -> float | None:
        """What its whole range surely moves entropy by, as such a share; `None` where that is not known."""
        return None

    @property
    def estimate(self) -> dict[str, float] | None:
        """What the controller has learned of the plant, for the history."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        raise NotImplementedError


class ActuatorArgs(Protocol):
    """The fields of `GRPOConfig` that decide an actuator's authority."""

    epsilon: float
    epsilon_high: float | None
    delta: float | None
    off_policy_mask_threshold: float | None
    entropy_coef: float
    use_adaptive_entropy: bool
    entropy_target: float
    beta: float
    loss_type: str
    importance_sampling_level: str
    steps_per_generation: int
    num_iterations: int
    gradient_accumulation_steps: int


@dataclass(frozen=True)
class Kept:
    """
    How many completions of a rollout are trained on, where an actuator leaves some out.

    Args:
        share (`float`):
            Share of the completions whose advantages are used, from 0 to 1.
        message (`str`, *optional*):
            Why none is left out although the control asks for it.
    """

    share: float
    message: str | None = None


class Actuator:
    """
    What a control moves: attributes of the trainer, or the tensors of its loss.

    A subclass is a frozen dataclass with `low` and `high`, the bounds of its control. It defines `settings` and
    overrides what it needs of the rest. One that overrides `kept`, `advantages` or `bonus` reads its settings there, by
    names of its own; the settings of the others are attributes of the trainer.
    """

    low: float
    high: float

    clamp: float = 0.0
    """Share of the vocabulary, lowest logits first, that is left out of the entropy which the loop holds."""

    alone: bool = False
    """Whether it acts at the control it begins with, and so cannot wait in a chain."""

    needs_sign: bool = False
    """Whether it reads the sign of the control alone, and so needs a controller that gives one."""

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
        raise NotImplementedError

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` where the actuator has no authority, or less than its bounds say."""

    def columns(self, scores: Any, args: ActuatorArgs) -> dict[str, Any]:
        """
        Return columns for the batch of a rollout, each with one row per completion of all processes.

        Args:
            scores ([`~actuators.batch.Scores`]):
                The rollout before its first update.
            args (`ActuatorArgs`):
                The configuration.
        """
        return {}

    def kept(self, batch: Any, settings: Mapping[str, float]) -> Kept | None:
        """Return how many completions are used; `None` where all are. Asked once per rollout."""
        return None

    def advantages(self, batch: Any, settings: Mapping[str, float]) -> Any:
        """
        Return the advantages to train on, of shape `(batch,)` or `(batch, tokens)`.

        Args:
            batch ([`~actuators.batch.MicroBatch`]):
                The completions, with columns.
            settings (`Mapping[str, float]`):
                The settings as they are.
        """
        return batch.inputs["advantages"]

    def bonus(self, batch: Any, settings: Mapping[str, float]) -> Any:
        """Return what is added to the objective of a micro-batch, a tensor with gradient or 0."""
        return 0.0


Effect = Actuator
