"""Base classes of controllers and actuators.

Once per rollout, a controller turns target and measured entropy into a control. An actuator turns the control into
settings of the trainer, or acts on the tensors of its loss.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", Algorithm 1 and section 4.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .values import check_bounds


@dataclass(frozen=True)
class PlantKnowledge:
    """
    The knowledge that a learning controller has of the plant, which is how entropy answers the control.

    Args:
        acts (`bool`):
            Whether the control is known to move entropy.
        push (`float`):
            Change of entropy per rollout that the present control causes, as a share of the entropy.
        strength (`float`):
            Change of entropy per rollout that the whole range of the control causes at least, as a share of the
            entropy.
        dead_time (`int`):
            Number of rollouts from a control to the first entropy that shows its effect, at least 1.
        estimate (`dict[str, float]`):
            Learned numbers by name, for the history.
    """

    acts: bool
    push: float
    strength: float
    dead_time: int
    estimate: dict[str, float]


class Controller:
    """
    The base class of controllers, which turn target and entropy into a control.

    A subclass defines `begin`, `update`, `rebase`, `state_dict` and `load_state_dict`. A controller that learns
    overrides `take_over` and `knowledge`, too. All numbers are in the unit of the actuator's control.
    """

    needs_target: bool = True
    """Whether the controller needs a schedule."""

    gives_sign: bool = False
    """Whether only the sign of the control has a meaning: more entropy, less entropy, or neither."""

    def begin(self, initial: float, low: float, high: float) -> None:
        """
        Start afresh.

        Args:
            initial (`float`):
                The control to start from.
            low (`float`):
                Lower bound of the control.
            high (`float`):
                Upper bound of the control.
        """
        raise NotImplementedError

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> float:
        """
        Return the control for the updates of this rollout.

        Args:
            target (`float`):
                Scheduled entropy of this rollout in nats.
            entropy (`float`):
                Measured entropy of this rollout in nats.
            slope (`float`):
                Change of the target until the next rollout in nats.
            noise (`float`, *optional*):
                Standard error of the measured entropy in nats, or `None` if it is not known.

        Returns:
            `float`: the control, within the bounds.
        """
        raise NotImplementedError

    def rebase(self, target: float, entropy: float, noise: float | None) -> float | None:
        """
        Forget past entropies, because prompts or lengths have changed.

        The arguments are those of `update`. `entropy` is the first one on the new prompts or lengths.

        Returns:
            `float` or `None`: the control until the next decision, within the bounds; `None` keeps it.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values, for a checkpoint."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state. The loop calls `begin` first."""
        raise NotImplementedError

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        """
        Go on with another actuator after a hand-over.

        Args:
            initial (`float`):
                The control that the other actuator starts from.
            low (`float`):
                Lower bound of that control.
            high (`float`):
                Upper bound of that control.
            holds (`bool`):
                Whether the actuator before stays at its control, or has gone back to the one that it started from.
        """
        self.begin(initial, low, high)

    @property
    def knowledge(self) -> PlantKnowledge | None:
        """The knowledge of the plant, or `None` if the controller has learned nothing."""
        return None


@dataclass
class ActuatorArgs:
    """The fields of `GRPOConfig` that actuators read, with TRL's defaults. A `GRPOConfig` can take its place."""

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
    num_generations: int = 8
    scale_rewards: str = "group"
    multi_objective_aggregation: str = "sum_then_normalize"
    overlong_cache: int = 0  # a field of `ESGRPOConfig`


@dataclass(frozen=True)
class Kept:
    """
    The share of a rollout's completions that is trained on.

    Args:
        share (`float`):
            Share of the completions, from 0 to 1.
        message (`str`, *optional*):
            The reason, if all completions are kept although the control asks to leave some out.
    """

    share: float
    message: str | None = None


class Actuator:
    """
    The base class of actuators, which turn a control into attributes of the trainer or act on the tensors of its loss.

    A subclass is a frozen dataclass with the bounds `low` and `high` of its control. If the control is its only
    setting, it names that `setting`; otherwise it defines `settings`. It overrides the other methods as needed.

    The settings are attributes of the trainer, for example `epsilon_high`. A subclass that overrides `kept`, `clip`,
    `advantages` or `bonus` is different: its settings have names of its own, and these methods read them.
    """

    low: float
    high: float

    setting: str
    """Name of the only setting, whose value is the control."""

    clamp: float = 0.0
    """Share of the vocabulary, lowest logits first, that the measured and controlled entropy leaves out."""

    alone: bool = False
    """Whether the actuator already acts at its initial control, so that it cannot wait in a chain."""

    couples: bool = False
    """Whether the actuator compares the completions of a micro-batch, so that these must be those that TRL draws."""

    needs_sign: bool = False
    """Whether the actuator reads only the sign of the control, so that its controller must give a sign."""

    def __post_init__(self) -> None:
        check_bounds(type(self).__name__, getattr(self, "low", None), getattr(self, "high", None))

    @property
    def reads_settings(self) -> bool:
        """Whether the actuator reads its settings itself, so that they need not be attributes of the trainer."""
        own = ("kept", "clip", "advantages", "bonus")
        return any(getattr(type(self), name) is not getattr(Actuator, name) for name in own)

    def initial(self, args: ActuatorArgs) -> float:
        """Return the control at which the settings are those of the configuration `args`."""
        return 0.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """
        Return the settings for a control. A higher control must mean more entropy.

        Args:
            control (`float`):
                The control, from `low` to `high`.
            args (`ActuatorArgs`):
                The configuration.

        Returns:
            `dict[str, float]`: values by name.
        """
        return {self.setting: control}

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if the actuator has no authority under `args`, or cannot use all of its range."""

    def columns(self, scores: Any, args: ActuatorArgs) -> dict[str, Any]:
        """
        Return columns that are added to the batch of a rollout.

        Args:
            scores (`Scores`):
                The scores of the rollout, over all processes.
            args (`ActuatorArgs`):
                The configuration.

        Returns:
            `dict[str, torch.Tensor]`: columns by name, one row per completion of all processes.
        """
        return {}

    def kept(self, batch: Any, settings: Mapping[str, float]) -> Kept | None:
        """Return the share of completions that is trained on, or `None` for all; called once per rollout."""
        return None

    def clip(self, batch: Any, settings: Mapping[str, float]) -> tuple[Any, Any]:
        """
        Return the lower and the upper PPO clip, as offsets of the ratio from 1.

        The arguments are those of `advantages`. Both are numbers, or both are tensors of shape `(batch, tokens)`
        without gradient.
        """
        return batch.clip

    def advantages(self, batch: Any, settings: Mapping[str, float]) -> Any:
        """
        Return the advantages to train on.

        Args:
            batch (`MicroBatch`):
                The micro-batch, whose `inputs["advantages"]` are the present advantages.
            settings (`Mapping[str, float]`):
                The present settings of all actuators.

        Returns:
            `torch.Tensor` of shape `(batch,)` or `(batch, tokens)`.
        """
        return batch.inputs["advantages"]

    def bonus(self, batch: Any, settings: Mapping[str, float]) -> Any:
        """
        Return a term that is added to the objective of a micro-batch; training maximizes the objective.

        The arguments are those of `advantages`. The term is a scalar tensor with gradient, or 0.
        """
        return 0.0


Effect = Actuator
