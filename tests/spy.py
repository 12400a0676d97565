"""A callback that notes a run's events, for tests."""

from es_trl import (
    RolloutCallback,
)


class Spy(RolloutCallback):
    """Notes the events, and measures the entropy of the rollout plainly, on logits."""

    def __init__(self):
        self.events = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.events.append(f"update {state.global_step}")

    def on_rollout_begin(self, args, state, control, record, trainer):
        self.events.append(f"begin {record.rollout}")

    def on_rollout_end(self, args, state, control, record, trainer):
        self.events.append(f"end {record.rollout}")
