"""How an evaluation is cut into units, and what of `samples.jsonl` counts."""

import json

import pytest

from es_trl.common.writing import append
from es_trl.evaluation.samples import keep_whole_units, lines_of, tally
from es_trl.evaluation.sampling import Completion
from es_trl.evaluation.units import cut, seed_from


@pytest.mark.parametrize("n", [1, 2, 5, 16, 100])
@pytest.mark.parametrize("problems", [1, 7])
@pytest.mark.parametrize("at_once", [1, 6, 64])
def test_every_completion_is_in_one_unit(n, problems, at_once):
    units = cut(range(problems), n, at_once)
    assert [unit.number for unit in units] == list(range(len(units)))
    keys = [key for unit in units for key in unit.keys]
    assert sorted(keys) == [(problem, sample) for problem in range(problems) for sample in range(n)]
    assert max(len(unit.keys) for unit in units) <= at_once


def test_the_units_of_a_smaller_power_of_two_come_first():
    small, large = cut(range(5), 8, 16), cut(range(5), 32, 16)
    assert small == large[: len(small)] and len(small) < len(large)
    assert cut(range(5), 6, 16) != large[: len(cut(range(5), 6, 16))]


def test_units_are_full_also_for_one_completion_per_problem():
    assert [len(unit.keys) for unit in cut(range(64), 1, 32)] == [32, 32]
    assert [len(unit.keys) for unit in cut(range(3), 256, 64)][-9:] == [64] * 9


def test_each_unit_has_a_seed_of_its_own():
    seeds = {seed_from(seed, place) for seed in range(30) for place in range(30)}
    assert len(seeds) == 900 and all(0 <= seed < 2**32 for seed in seeds)
    assert seed_from(2**62, 3) == seed_from(2**62, 3)


@pytest.fixture
def whole(tmp_path):
    """A file with all samples of some units, the units, and where each unit ends in the file."""
    units, path, ends = cut(range(3), 4, 4), tmp_path / "samples.jsonl", [0]
    for unit in units:
        made = [Completion([1, 2], "ä\u2028\n", False) for _ in unit.keys]
        append(path, lines_of(unit, made, [1.0, None, -1.0, 0.0][: len(made)]))
        ends.append(path.stat().st_size)
    return path, units, ends


def test_a_cut_at_any_byte_leaves_the_whole_units_before_it(whole):
    path, units, ends = whole
    content = path.read_bytes()
    assert keep_whole_units(path, units) == len(units) and path.read_bytes() == content
    for size in range(len(content)):
        path.write_bytes(content[:size])
        kept = sum(end <= size for end in ends) - 1
        assert keep_whole_units(path, units) == kept
        assert path.read_bytes() == content[: ends[kept]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[:1] + lines[2:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0], lines[0], *lines[2:]],
        lambda lines: [b"\0" * 30 + b"\n", *lines[1:]],
        lambda lines: [b"[]\n", *lines[1:]],
        lambda lines: [lines[0].replace(b'"tokens"', b'"token"'), *lines[1:]],
        lambda lines: [lines[0].replace(b"}", b""), *lines[1:]],
    ],
)
def test_a_damaged_unit_and_what_follows_is_dropped(whole, damage):
    path, units, ends = whole
    content = path.read_bytes()
    path.write_bytes(content[: ends[1]] + b"".join(damage(content[ends[1] :].splitlines(keepends=True))))
    assert keep_whole_units(path, units) == 1 and path.read_bytes() == content[: ends[1]]


def test_lines_beyond_the_last_unit_are_dropped(whole):
    path, units, ends = whole
    content = path.read_bytes()
    path.write_bytes(content + content[:40])
    assert keep_whole_units(path, units) == len(units) and path.read_bytes() == content


def test_a_missing_file_has_no_unit(tmp_path):
    assert keep_whole_units(tmp_path / "samples.jsonl", cut([0], 4, 4)) == 0


def test_only_a_reward_above_0_is_right(tmp_path):
    (unit,) = cut([0, 1], 1, 4)
    path = tmp_path / "samples.jsonl"
    append(path, lines_of(unit, [Completion([5, 6, 7], "a", True), Completion([5], "b", False)], [0.0, 0.1]))
    found = tally(path, 2)
    assert (found.correct, found.truncated, found.tokens) == ([0, 1], 0.5, 2.0)
    first = json.loads(path.read_text().splitlines()[0])
    assert first == {"problem": 0, "sample": 0, "completion": "a", "reward": 0.0, "tokens": 3, "truncated": True}
