"""The plan of a rollout: each completion in one micro-batch of its update, equal passes, and cost by tokens."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_processes import on_processes

from es_trl.micro_batches.cutting import LAYOUTS, Costs
from es_trl.micro_batches.exchange import returned, work_of
from es_trl.micro_batches.plan import Budget, make_plan
from es_trl.micro_batches.rows import facts


COSTS = Costs(micro_batch=8, attention=1)


@dataclass(frozen=True)
class Rollout:
    """Facts `(rows, 3)` and TRL's positions `(rows,)` of each process."""

    tables: list[torch.Tensor]
    positions: list[torch.Tensor]
    updates: int

    @property
    def per_update(self):
        return len(self.positions[0]) // self.updates

    def update_of(self, row):
        """The update in which TRL's order has a row of the rollout."""
        process, own = divmod(int(row), len(self.positions[0]))
        return int(self.positions[process][own]) // self.per_update


def random_rollout(seed, processes=2, updates=2, per_update=8, mean=1.5, prompt=5):
    random = torch.Generator().manual_seed(seed)
    rows = updates * per_update
    tables, positions = [], []
    for _ in range(processes):
        same = torch.arange(rows) // 4
        prompts = torch.randint(1, prompt + 1, (rows,), generator=random)[same]
        completions = torch.randn(rows, generator=random).add(mean).exp().round().clamp(0, 60).long()
        tables.append(torch.stack([prompts, completions, same], dim=1))
        positions.append(torch.randperm(rows, generator=random))
    return Rollout(tables, positions, updates)


def plans_of(rollout, layouts=("trimmed",), tokens=60, parts=None, costs=COSTS, length=None):
    """The plan on each process, by a real call on each."""
    budget = Budget(tokens, 4, length, costs, layouts, parts)

    def plan(accelerator):
        process = accelerator.process_index
        return make_plan(rollout.tables[process], rollout.positions[process], rollout.updates, budget, accelerator)

    return on_processes(len(rollout.tables), plan)


rollouts = st.builds(
    random_rollout, st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 3), st.sampled_from([4, 8, 12])
)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25)
@given(rollout=rollouts, tokens=st.integers(5, 200))
def test_each_completion_is_computed_once_in_its_update(layout, rollout, tokens):
    plans = plans_of(rollout, (layout,), tokens)
    processes, first = len(plans), plans[0]
    for other in plans[1:]:  # all processes make the same plan
        assert np.array_equal(other.rows, first.rows) and other.cuts == first.cuts
    assert first.moves == (processes > 1 and layout != "shared")
    for update, rows in enumerate(first.rows):
        assert rows.shape == (processes, rollout.per_update)
        assert {rollout.update_of(row) for row in rows.flat} == {update}
        if not first.moves:
            size = len(rollout.positions[0])
            assert (rows // size == np.arange(processes)[:, None]).all()
    assert sorted(first.rows.flat) == list(range(first.rows.size))
    micro_batches = [list(first.micro_batches(process)) for process in range(processes)]
    # equally many micro-batches everywhere, each as large as those beside it, and none is empty
    sizes = [[len(rows) for rows in each] for each in micro_batches]
    assert all(each == sizes[0] and min(each) > 0 for each in sizes)
    assert np.array_equal(np.concatenate(micro_batches[0]), first.rows[:, 0].reshape(-1))


@pytest.mark.parametrize("layout", ["packed", "shared"])
@settings(max_examples=15)
@given(rollout=rollouts)
def test_completions_come_back_to_where_they_were(layout, rollout):
    plans = plans_of(rollout, (layout,))
    rows = len(rollout.positions[0])

    def exchange(accelerator):
        process, plan = accelerator.process_index, plans[0]
        own = torch.arange(rows) + process * rows
        place = plan.places(process)
        batch = {"row": own, "two": torch.stack([own, own + 1], dim=1), "whole": torch.tensor(7.0)}
        work = work_of(batch, place, plan.moves, accelerator)
        assert work["row"].tolist() == np.concatenate(list(plan.micro_batches(process))).tolist()
        assert torch.equal(work["two"][:, 1], work["row"] + 1) and work["whole"] == 7.0
        assert torch.equal(returned(work["row"], place, plan.moves, accelerator), own)
        assert torch.equal(returned(work["two"], place, plan.moves, accelerator), batch["two"])
        return accelerator.gathers

    gathers = on_processes(len(plans), exchange)
    assert gathers == [4 if plans[0].moves else 0] * len(plans)


@settings(max_examples=15)
@given(rollout=rollouts)
def test_the_columns_say_what_the_plan_says(rollout):
    """An update is found again from the columns of its rows, in TRL's order."""
    plans = plans_of(rollout, ("packed",))
    plan, per_update = plans[0], rollout.per_update
    for update, cuts in enumerate(plan.cuts):

        def micro_batches(accelerator, update=update):
            process = accelerator.process_index
            order = rollout.positions[process].argsort()[update * per_update : (update + 1) * per_update]
            columns = plan.columns(process)
            held = {name: columns[name][order] for name in ("place", "micro_batch")}
            held["row"] = order + process * len(rollout.positions[process])
            work = work_of(held, held["place"], plan.moves, accelerator)
            assert torch.equal(work["place"], torch.arange(per_update) + process * per_update)
            assert work["row"].tolist() == plan.rows[update, process].tolist()
            return torch.bincount(work["micro_batch"]).tolist()

        assert on_processes(len(plans), micro_batches) == [np.diff(cuts).tolist()] * len(plans)
    columns = plan.columns(0)
    assert (int(columns["updates"]), LAYOUTS[int(columns["layout"])], bool(columns["moves"])) == (
        rollout.updates, "packed", plan.moves
    )  # fmt: skip


def test_processes_get_about_as_many_tokens():
    rollout = random_rollout(0, processes=4, updates=1, per_update=32, mean=2.0)
    flat = torch.cat(rollout.tables)[:, :2].sum(dim=1).numpy()
    (plan, *_) = plans_of(rollout, ("packed",), 10**6)
    tokens = flat[plan.rows[0]].sum(axis=1)
    assert tokens.max() / tokens.mean() < 1.05
    held = np.array([table[:, :2].sum() for table in rollout.tables])
    assert held.max() / held.mean() > tokens.max() / tokens.mean()


def test_parts_keep_the_completions_of_a_process_in_their_order():
    rollout = random_rollout(1, processes=2, updates=4, per_update=4)
    (plan, _) = plans_of(rollout, ("trimmed",), tokens=10, parts=2)
    assert plan.cuts == [[0, 2, 4]] * 4 and not plan.moves
    for process in range(2):
        order = rollout.positions[process].argsort() + process * 16
        assert plan.rows[:, process].reshape(-1).tolist() == order.tolist()


@pytest.mark.parametrize("layout", ["trimmed", "packed"])
def test_cost_grows_with_tokens_alone(layout):
    """The same tokens, in lengths of three spreads and among completions of three lengths at most."""
    costs = {}
    for fill in (0.1, 0.2, 0.5):
        random = np.random.default_rng(0)
        draws = random.lognormal(0.0, {0.1: 1.2, 0.2: 0.9, 0.5: 0.4}[fill], 256)
        lengths = np.maximum((draws / draws.sum() * 25600).round(), 1).astype(int)
        lengths[0] += 25600 - lengths.sum()
        table = torch.tensor(np.stack([np.full(256, 10), lengths, np.arange(256)], axis=1))
        rollout = Rollout([table], [torch.randperm(256, generator=torch.Generator().manual_seed(0))], 4)
        (plan,) = plans_of(rollout, (layout,), tokens=4 * 1000, costs=Costs(8, 1))
        costs[fill] = plan.tokens
        assert lengths.max() > 2 * lengths.mean() and plan.tokens < 0.6 * 256 * (10 + lengths.max())
    tokens = 25600 + 256 * 10
    assert all(tokens < cost < (1.12 if layout == "trimmed" else 1.08) * tokens for cost in costs.values()), costs
    assert max(costs.values()) / min(costs.values()) < 1.06


def test_budget():
    costs = Costs(10**6, 0)
    budget = Budget(None, 4, 50, costs, ("trimmed",))
    assert budget.most(10, 30) == 4 * (10 + 50)  # the longest that may be sampled, not the longest that was
    assert Budget(None, 4, None, costs, ("trimmed",)).most(10, 30) == 4 * (10 + 30)
    assert Budget(77, 4, 50, costs, ("trimmed",)).most(10, 30) == 77
    rollout = Rollout([torch.tensor([[10, 20, k] for k in range(16)])], [torch.arange(16)], 1)
    cuts = {tokens: plans_of(rollout, ("packed",), tokens, costs=costs, length=50)[0].cuts for tokens in (None, 60)}
    assert cuts == {None: [[0, 8, 16]], 60: [list(range(0, 17, 2))]}  # 240 tokens hold 8 completions of 30


def test_the_cheapest_layout_wins():
    shares = Rollout([torch.tensor([[40, 5, k // 4] for k in range(16)])], [torch.arange(16)], 1)
    assert plans_of(shares, ("packed", "shared", "trimmed"), 10**6)[0].layout == "shared"
    apart = Rollout([torch.tensor([[4, 5, k] for k in range(16)])], [torch.arange(16)], 1)
    assert plans_of(apart, ("packed", "shared", "trimmed"), 10**6)[0].layout == "packed"
    # equal lengths without a prompt in common: nothing to gain, so the first one is taken
    assert plans_of(apart, ("trimmed", "packed"), 10**6)[0].layout == "trimmed"


def test_facts_of_a_batch():
    batch = {
        "prompt_ids": torch.tensor([[0, 5, 6], [9, 5, 6], [0, 5, 6], [0, 0, 6]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
        "completion_mask": torch.tensor([[1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]]),
    }
    found = facts(batch)
    assert found[:, :2].tolist() == [[2, 1], [2, 0], [3, 3], [1, 3]]
    same = found[:, 2].tolist()
    # the content of padding is nothing, and a token that is also the padding token is something
    assert same[0] == same[1] and len(set(same)) == 3
