"""How a plan shares the tokens of an update among processes."""

import numpy as np
import pytest
import torch

from es_trl.micro_batches.cutting import Costs
from es_trl.micro_batches.plan import Budget, Plan, make_plan
from es_trl.micro_batches.rows import fitted


UPDATES, COPIES = 4, 8  # completions per prompt
SIGMAS = (0.6, 0.9, 1.2)  # of the lengths' logarithm


class Processes:
    """An accelerator that has gathered a table already."""

    device = torch.device("cpu")

    def __init__(self, table: np.ndarray):
        self.num_processes, self.table = len(table), torch.from_numpy(table)

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        return self.table.flatten(0, 1)


def drawn(processes: int, sigma: float, seed: int) -> np.ndarray:
    """Return lognormal lengths with mean 100 and maximum 512, `(processes, completions, 4)`."""
    random, size = np.random.default_rng(seed), 128
    lengths = np.exp(random.normal(np.log(100) - sigma**2 / 2, sigma, (processes, size))).round().clip(1, 512)
    prompts = random.integers(8, 64, (processes, size // COPIES)).repeat(COPIES, axis=1)
    same = np.broadcast_to(np.arange(size // COPIES).repeat(COPIES), prompts.shape)
    position = np.stack([random.permutation(size) for _ in range(processes)])
    return np.stack([prompts, lengths.astype(int), same, position], axis=2)


def planned(table: np.ndarray, layout: str) -> Plan:
    own = torch.from_numpy(table[0])
    budget = Budget(None, 8, 512, Costs(64, 1), (layout,))
    return make_plan(own[:, :3], own[:, 3], UPDATES, budget, Processes(table))


def imbalances(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the most tokens of a process over their mean, for the `rows` of each process in each update."""
    tokens = table[:, :, :2].sum(axis=2).reshape(-1)[rows].sum(axis=2)
    return tokens.max(axis=1) / tokens.mean(axis=1)


def by_trl(table: np.ndarray) -> np.ndarray:
    """Return the rows of each process in each update if none moves."""
    processes, size, _ = table.shape
    rows = table[:, :, 3].argsort(axis=1) + np.arange(processes)[:, None] * size
    return rows.reshape(processes, UPDATES, -1).swapaxes(0, 1)


@pytest.mark.parametrize("layout", ["packed", "trimmed", "flash"])
@pytest.mark.parametrize(("processes", "before", "after"), [(2, 1.05, 1.01), (8, 1.15, 1.02)])
def test_processes_get_about_as_many_tokens(processes, before, after, layout):
    usual, found = [], []
    for seed, sigma in enumerate(SIGMAS * 5):
        table = drawn(processes, sigma, seed)
        plan = planned(table, layout)
        assert plan.moves
        # every update keeps its completions
        assert np.array_equal(np.sort(plan.rows.reshape(UPDATES, -1)), np.sort(by_trl(table).reshape(UPDATES, -1)))
        usual.append(imbalances(table, by_trl(table)))
        found.append(imbalances(table, plan.rows))
    assert np.mean(usual) > before and np.mean(found) < after
    assert np.max(found) < 1.06 < np.max(usual)


@pytest.mark.parametrize("processes", [2, 8])
def test_completions_with_shared_prompts_stay_on_their_process(processes):
    table = drawn(processes, 0.9, 0)
    plan = planned(table, "shared")
    assert not plan.moves
    assert np.array_equal(np.sort(plan.rows), np.sort(by_trl(table)))


def test_all_short_on_one_process_and_all_long_on_the_other():
    table = drawn(2, 0.6, 0)
    table[0, :, 1], table[1, :, 1] = 4, 512
    assert imbalances(table, by_trl(table)).min() > 1.8
    assert imbalances(table, planned(table, "packed").rows).max() < 1.03


@pytest.mark.parametrize(("layout", "width"), [("packed", 2), ("shared", 1)])
def test_moved_completions_have_two_columns_at_least(layout, width):
    """One process has completions of one token, and those of the other are masked: both must make the same columns."""
    table = drawn(2, 0.6, 0)
    table[0, :, 1], table[1, :, 1] = 1, 0
    plan = planned(table, layout)
    assert plan.widths[1] == width
    if plan.moves:
        masks = (torch.ones(4, 1), torch.zeros(4, 24))
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        shapes = [fitted(dict.fromkeys(names, mask), *plan.widths)["completion_mask"].shape for mask in masks]
        assert shapes[0] == shapes[1]
