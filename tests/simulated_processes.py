"""Several processes in threads of one, whose accelerator gathers in their order, for tests of collective functions."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


class Gathering:
    """What one process sees of `accelerate.Accelerator`; it counts its gathers."""

    device = torch.device("cpu")

    def __init__(self, process: int, count: int, barrier: threading.Barrier, held: list[Any]):
        self.process_index, self.num_processes = process, count
        self.gathers = 0
        self._barrier, self._held = barrier, held

    def gather(self, values: Any) -> Any:
        self.gathers += 1
        self._held[self.process_index] = values
        self._barrier.wait()
        held = list(self._held)
        self._barrier.wait()
        if isinstance(values, dict):
            return {name: torch.cat([each[name] for each in held]) for name in values}
        return torch.cat(held)


def on_processes(count: int, function: Callable[[Gathering], Any]) -> list[Any]:
    """Return what `function` returns on each process; a process that gathers less often than the others breaks it."""
    barrier, held = threading.Barrier(count, timeout=10.0), [None] * count
    accelerators = [Gathering(process, count, barrier, held) for process in range(count)]
    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(function, accelerators))
    assert len({each.gathers for each in accelerators}) == 1
    return results
