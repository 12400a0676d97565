"""The stage of each rollout, and the prompts that it draws."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datasets import Dataset

from ..control.geometry import Geometry, GeometryArgs, check_one_rollout
from ..control.schedules import Schedule, onset_rollout
from .datasets import check_stages
from .planned import PlannedStage, plan_stages, stage_of
from .prompt_order import PromptOrder
from .stages import Stage


class StagedPrompts:
    """
    The stages of one run with their datasets.

    Args:
        stages (sequence of `Stage`):
            The curriculum. If it is empty, the configuration's own values hold for the whole run.
        args (`GeometryArgs`):
            The configuration.
        datasets (`Mapping[str, Dataset | None]`):
            Datasets by name. `None` stands for a dataset that a plan cannot read.
        schedule (`Schedule`, *optional*):
            The entropy schedule, for stages that start at its onset.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        args: GeometryArgs,
        datasets: Mapping[str, Dataset | None],
        schedule: Schedule | None,
    ) -> None:
        self.datasets = dict(datasets)
        self._stages, self._schedule = list(stages), schedule
        self.restart(args)

    def restart(self, args: GeometryArgs) -> None:
        """Plan the stages for the configuration `args`, and go back to before the first rollout."""
        if self._stages:
            check_one_rollout(args, "a curriculum")
        rollouts = Geometry.of(args).rollouts
        known = self._schedule is not None and rollouts is not None
        onset = onset_rollout(self._schedule, rollouts) if known else None
        self.planned = plan_stages(self._stages, args, rollouts, onset, self.datasets)
        check_stages(self.planned, self.datasets)
        sizes = {name: 0 if dataset is None else len(dataset) for name, dataset in self.datasets.items()}
        self._order = PromptOrder(sizes, args.seed, args.shuffle_dataset)
        self.stage: PlannedStage | None = None  # `None` until the first rollout begins
        self._awaits_jump = False  # true from a switch until the first measured entropy after it
        self._last_entropy: float | None = None

    def begin_rollout(self, rollout: int) -> PlannedStage | None:
        """Begin a rollout; at a switch return the stage before it, otherwise `None`."""
        before, self.stage = self.stage, stage_of(self.planned, rollout)
        switches = before is not None and self.stage is not before
        self._awaits_jump = self._awaits_jump or switches
        if self.stage is not before:
            self._order.enter(self.stage.data)
        self._order.begin_rollout()
        return before if switches else None

    def jump(self, entropy: float | None) -> float | None:
        """Return the change of entropy in nats at a switch, given the present entropy; `None` without a switch."""
        if entropy is None:
            return None
        awaited = self._awaits_jump and self._last_entropy is not None
        jump = entropy - self._last_entropy if awaited else None
        self._awaits_jump, self._last_entropy = False, entropy
        return jump

    def draw(self, prompts: int, num_generations: int, processes: tuple[int, int]) -> list[dict[str, Any]]:
        """
        Draw prompts for all processes, and return the rows of this process.

        Args:
            prompts (`int`):
                Number of prompts, over all processes.
            num_generations (`int`):
                Completions per prompt.
            processes (`tuple[int, int]`):
                Index of this process, and number of processes.

        Returns:
            `list[dict[str, Any]]`: one row per completion of this process.
        """
        drawn = [place for place in self._order.draw(prompts) for _ in range(num_generations)]
        process, count = processes
        size = len(drawn) // count
        own = drawn[process * size : (process + 1) * size]
        read = {
            name: iter(dataset.__getitems__([row for of, row in own if of == name]))  # all at once is much faster
            for name, dataset in self.datasets.items()
            if name in {of for of, _ in own}
        }
        return [next(read[name]) for name, _ in own]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values, once a rollout has begun."""
        assert self.stage is not None, "a checkpoint comes after an update, and so after a rollout has begun"
        return {
            "stage": asdict(self.stage),
            "order": self._order.state_dict(),
            "awaits_jump": self._awaits_jump,
            "last_entropy": self._last_entropy,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state; raise `ValueError` if this run has no such stage, or another order of prompts."""
        # a checkpoint from before stages had temperatures has that of the configuration
        saved = {"temperature": self.planned[0].temperature, **state["stage"]}
        if saved not in [asdict(stage) for stage in self.planned]:
            raise ValueError(
                f"the checkpoint is in stage {saved['index']} (from rollout {saved['first']} on, {saved['prompts']} "
                f"prompts x {saved['num_generations']} completions) but this run has no such stage: resume with the "
                "curriculum and max_steps that wrote it, or start a new run with the checkpoint as the model"
            )
        self.stage = self.planned[saved["index"]]
        self._order.enter(self.stage.data)
        self._order.load_state_dict(state["order"])
        self._awaits_jump, self._last_entropy = state["awaits_jump"], state["last_entropy"]
