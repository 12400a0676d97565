"""Meters of a rollout's update phase: seconds, peak memory, and the losses."""

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Meter(TrainerCallback):
    """
    Records the loss and the gradient norm of every update, and calls `begin` and `end` around each update phase.

    Args:
        updates (`int`):
            Updates per rollout.
    """

    def __init__(self, updates: int):
        self._updates = updates
        self.losses: list[float] = []
        self.gradient_norms: list[float] = []

    def begin(self, model: torch.nn.Module) -> None:
        """Begin to measure, before the scoring of a rollout."""

    def end(self) -> None:
        """End to measure, after the last update of a rollout."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step % self._updates == 0:
            self.end()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **kwargs: Any,
    ) -> None:
        if "grad_norm" in logs:
            self.losses.append(logs["loss"])
            self.gradient_norms.append(logs["grad_norm"])


class CPUClock(Meter):
    """Measures the CPU seconds of this process in every update phase, and between the beginnings of two."""

    def __init__(self, updates: int):
        super().__init__(updates)
        self._begins: list[float] = []
        self._ends: list[float] = []

    def begin(self, model: torch.nn.Module) -> None:
        self._begins.append(time.process_time())

    def end(self) -> None:
        self._ends.append(time.process_time())

    @property
    def phases(self) -> list[float]:
        """The seconds of each update phase."""
        return [end - begin for begin, end in zip(self._begins, self._ends, strict=True)]

    @property
    def rollouts(self) -> list[float]:
        """The seconds from the beginning of one update phase to that of the next, one fewer than there are phases."""
        return [after - before for before, after in zip(self._begins, self._begins[1:], strict=False)]


class GPUClock(Meter):
    """Measures the seconds of every update phase by CUDA events, and the peak memory of the last one, bytes."""

    def __init__(self, updates: int):
        super().__init__(updates)
        self._begins: list[torch.cuda.Event] = []
        self._ends: list[torch.cuda.Event] = []
        self.peak = 0

    def begin(self, model: torch.nn.Module) -> None:
        torch.cuda.reset_peak_memory_stats()
        self._begins.append(_event())

    def end(self) -> None:
        self._ends.append(_event())
        self.peak = torch.cuda.max_memory_allocated()

    @property
    def phases(self) -> list[float]:
        """The seconds of each update phase."""
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) / 1000 for begin, end in zip(self._begins, self._ends, strict=True)]


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class CPUMemory(Meter):
    """
    Measures the peak memory of the first update phase on a CPU, bytes.

    It is the parameters plus the largest sum of all that PyTorch's allocator gives out in the phase and has not got
    back, as its profiler notes it. So gradients, optimizer states, activations and kernels' own buffers all count.
    The profiler is slow, so no phase is timed with it.
    """

    def __init__(self, updates: int):
        super().__init__(updates)
        self._profile: profile | None = None
        self.peak = 0

    def begin(self, model: torch.nn.Module) -> None:
        self.peak = sum(each.numel() * each.element_size() for each in model.parameters())
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.start()

    def end(self) -> None:
        self._profile.stop()
        events = self._profile.profiler.kineto_results.events()
        changes = sorted((each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]")
        now = peak = 0
        for _, change in changes:
            now += change
            peak = max(peak, now)
        self.peak += peak
