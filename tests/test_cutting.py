"""Where an update is cut into micro-batches: the cheapest cuts, by hand and against all cuts."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_trl.micro_batches.cutting import LARGE_ENOUGH, Costs, Lengths, about, best_cuts, cost_of, equal_cuts


FREE = Costs(micro_batch=10**6, attention=0)  # so large that `LARGE_ENOUGH` caps no budget below


def lengths_of(*processes):
    """The lengths of some processes, each a list of (prompt, completion, number of the prompt)."""
    before = np.full((len(processes), len(processes[0])), -1)
    for process, rows in enumerate(processes):
        for position, (_, _, same) in enumerate(rows):
            before[process, position] = max((k for k in range(position) if rows[k][2] == same), default=-1)
    table = np.array([[row[:2] for row in rows] for rows in processes])
    return Lengths(table[:, :, 0], table[:, :, 1], before)


def plainly(processes, first, end, layout):
    """The tokens of one micro-batch, counted row by row."""
    totals = []
    for rows in (rows[first:end] for rows in processes):
        if layout in ("trimmed", "masked"):
            totals.append(max(p + c for rows in processes for p, c, _ in rows[first:end]) * len(rows))
        elif layout == "shared":
            totals.append(sum(c for _, c, _ in rows) + sum({same: p for p, _, same in rows}.values()))
        else:
            totals.append(sum(p + c for p, c, _ in rows))
    return max(totals)


def all_cuts(size):
    for count in range(size):
        for inner in combinations(range(1, size), count):
            yield [0, *inner, size]


def memory(processes, first, end, layout):
    # the keys and values of a shared prompt are copied for each completion, which takes the memory of an eighth of it
    copied = [sum(p // 8 for p, _, _ in rows[first:end]) for rows in processes]
    return plainly(processes, first, end, layout) + (max(copied) if layout == "shared" else 0)


def fits(processes, cuts, layout, budget):
    pairs = list(zip(cuts, cuts[1:], strict=False))
    return all(end - first == 1 or memory(processes, first, end, layout) <= budget for first, end in pairs)


@st.composite
def updates(draw, most=7):
    """One or two processes with up to `most` completions of up to three prompts each."""
    size, count = draw(st.integers(1, most)), draw(st.integers(1, 2))
    processes = []
    for _ in range(count):
        prompts = draw(st.lists(st.integers(1, 12), min_size=3, max_size=3))
        of_prompt = sorted(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
        completions = draw(st.lists(st.integers(0, 20), min_size=size, max_size=size))
        processes.append([(prompts[k], c, k) for k, c in zip(of_prompt, completions, strict=True)])
    return processes


LAYOUTS = ("trimmed", "packed", "shared", "flash")
several = given(updates(), st.integers(1, 120), st.integers(1, 40))


@pytest.mark.parametrize("layout", LAYOUTS)
@given(processes=updates())
def test_tokens_are_those_that_are_counted(layout, processes):
    lengths = lengths_of(*processes)
    for first in range(lengths.size):
        ends = range(first + 1, lengths.size + 1)
        assert lengths.tokens_from(first, layout).tolist() == [plainly(processes, first, k, layout) for k in ends]


@several
def test_no_cuts_with_padding_cost_less(processes, budget, own):
    lengths, costs = lengths_of(*processes), Costs(own, 0)
    capped = min(budget, LARGE_ENOUGH * own)
    found = best_cuts(lengths, "trimmed", budget, costs)
    allowed = [cuts for cuts in all_cuts(lengths.size) if fits(processes, cuts, "trimmed", capped)]
    assert found in allowed
    assert cost_of(lengths, "trimmed", found, costs) == min(
        cost_of(lengths, "trimmed", cuts, costs) for cuts in allowed
    )


@pytest.mark.parametrize("layout", LAYOUTS[1:])
@several
def test_no_fewer_cuts_without_padding(layout, processes, budget, own):
    lengths = lengths_of(*processes)
    found = best_cuts(lengths, layout, budget, FREE)
    assert found[0] == 0 and found[-1] == lengths.size and fits(processes, found, layout, budget)
    fewest = min(len(cuts) for cuts in all_cuts(lengths.size) if fits(processes, cuts, layout, budget))
    assert len(found) == fewest


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_completion_may_have_more_than_the_budget(layout):
    rows = [(2, 50, 0), (2, 50, 1), (2, 1, 2), (2, 1, 3)]
    assert best_cuts(lengths_of(rows), layout, 10, FREE) == [0, 1, 2, 4]


def test_padding_is_weighed_against_the_cost_of_a_micro_batch():
    rows = [(1, 19, 0), (1, 4, 1), (1, 4, 2)]
    # together 60 tokens, apart 20 + 10
    assert best_cuts(lengths_of(rows), "trimmed", 1000, Costs(31, 0)) == [0, 3]
    assert best_cuts(lengths_of(rows), "trimmed", 1000, Costs(29, 0)) == [0, 1, 3]


def test_micro_batches_without_padding_are_about_equal():
    lengths = lengths_of([(1, 9, k) for k in range(12)])  # 120 tokens
    assert best_cuts(lengths, "packed", 70, FREE) == [0, 6, 12]  # and not 7 and 5
    assert best_cuts(lengths, "packed", 120, FREE) == [0, 12]
    assert best_cuts(lengths, "packed", 50, FREE) == [0, 4, 8, 12]


def test_micro_batches_that_are_made_equal_keep_the_budget():
    """A fifth above the mean of 12.5 tokens would be 15."""
    rows = [(1, tokens - 1, k) for k, tokens in enumerate([6, 5, 4, 5, 5])]
    assert best_cuts(lengths_of(rows), "packed", 14, FREE) == [0, 2, 5]
    assert best_cuts(lengths_of(rows), "packed", 15, FREE) == [0, 3, 5]


def test_a_micro_batch_holds_no_more_than_what_makes_its_own_cost_small():
    lengths = lengths_of([(1, 9, k) for k in range(48)])  # 480 tokens
    assert best_cuts(lengths, "packed", 10**9, Costs(10, 0)) == [0, 16, 32, 48]  # LARGE_ENOUGH * 10 = 160
    sizes = np.diff(best_cuts(lengths, "trimmed", 10**9, Costs(10, 0)))
    assert (sizes * 10 <= LARGE_ENOUGH * 10).all()
    assert best_cuts(lengths, "packed", 10**9, Costs(30, 0)) == [0, 48]


def test_the_process_with_the_most_decides():
    short, long = [(1, 1, k) for k in range(4)], [(1, 9, k) for k in range(4)]
    assert best_cuts(lengths_of(short, long), "packed", 20, FREE) == [0, 2, 4]
    assert best_cuts(lengths_of(short, short), "packed", 20, FREE) == [0, 4]
    assert lengths_of(short, long).tokens_from(1, "trimmed").tolist() == [10, 20, 30]


def test_a_shared_prompt_counts_once_per_micro_batch():
    lengths = lengths_of([(10, 3, 0), (10, 2, 0), (10, 1, 0), (10, 4, 1)])
    assert lengths.tokens_from(0, "shared").tolist() == [13, 15, 16, 30]
    assert lengths.tokens_from(1, "shared").tolist() == [12, 13, 27]  # computed again
    assert lengths.memory_from(0, "shared").tolist() == [14, 17, 19, 34]  # with copies of the keys and values
    assert best_cuts(lengths, "shared", 19, FREE) == [0, 3, 4]


def test_calls_of_attention():
    rows = [(4, 4, 0), (4, 4, 0), (4, 30, 0), (9, 30, 1)]
    lengths = lengths_of(rows)
    assert lengths.attentions(0, 4, "trimmed") == lengths.attentions(0, 4, "flash") == 1
    assert lengths.attentions(0, 4, "packed") == len({about(8), about(34), about(39)}) == 2
    # prompts of 4 and of 9 tokens; behind them completions of about 8 and 32 tokens, and of about 32
    assert lengths.attentions(0, 4, "shared") == 5
    assert lengths.attentions(0, 2, "shared") == 2
    alike = lengths_of([(4, 4, 0)] * 4, rows)
    assert alike.attentions(0, 4, "packed") == 2 and alike.attentions(0, 2, "packed") == 1
    assert cost_of(lengths, "packed", [0, 2, 4], Costs(100, 10)) == (16 + 110) + (73 + 110)


def test_few_lengths_remain():
    assert [about(n) for n in (1, 8, 9, 16, 17, 33, 64, 65, 100)] == [8, 8, 16, 16, 24, 40, 64, 80, 112]
    for n in range(1, 5000):
        assert n <= about(n) <= max(1.25 * n, 8 * -(-n // 8)) and about(about(n)) == about(n)
    assert len({about(n) for n in range(1, 16385)}) < 50


def test_equal_cuts():
    assert equal_cuts(12, 3) == [0, 4, 8, 12] and equal_cuts(5, 1) == [0, 5]
    with pytest.raises(AssertionError, match="5 completions cannot be cut into 2 equal parts"):
        equal_cuts(5, 2)
