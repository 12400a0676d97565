"""The results of a sweep: the best point for each k by hand, ties, intervals, and what is missing."""

import json
import math

import numpy as np
import pytest
from launching import ROOT
from made_up_sweep import settings_of, write_evaluation, write_sweep

from es_trl.estimates.intervals import intervals_of
from es_trl.estimates.pass_at_k import table_of
from es_trl.sweep.estimates import best_of, estimate
from es_trl.sweep.report import NOT_FINISHED, as_json, as_report, read_results
from es_trl.sweep.sweep import write_results


GRID = {"entropy_schedule.target": ["0.1", "0.5"], "entropy_schedule.ratio": ["0.1", "0.2"]}


def results_of(settings, folder):
    results = read_results(settings, folder)
    reasons = {run.index: NOT_FINISHED for run in settings.runs(folder)}
    return as_json(results, reasons), as_report(results, reasons)


def test_the_best_point_for_each_k_by_hand(tmp_path):
    # of 4 completions: sharp solves half of the problems always, broad solves all of them once
    sharp, broad = [4, 0] * 20, [1, 1] * 20
    settings = write_sweep(tmp_path, [sharp, [0] * 40, broad, [0] * 40], GRID)
    found, text = results_of(settings, tmp_path)
    one, four = found["best"]["1"], found["best"]["4"]
    assert one["values"] == {"entropy_schedule.target": 0.1, "entropy_schedule.ratio": 0.1}
    assert four["values"] == {"entropy_schedule.target": 0.5, "entropy_schedule.ratio": 0.1}
    assert (one["pass@k"]["value"], one["difference"]["value"], one["second"]) == (0.5, 0.25, four["values"])
    assert (four["pass@k"]["value"], four["difference"]["value"], four["second"]) == (1.0, 0.5, one["values"])
    assert one["differs"] and four["differs"] and one["ties"] == four["ties"] == []
    assert "pass@1: best at target 0.1, ratio 0.1: 0.500 [" in text
    text = text.replace("\n    ", " ")
    assert "the difference to target 0.5, ratio 0.1 is 0.250 [" in text and "which excludes 0" in text
    assert found["missing"] == [] and "missing" not in text


def test_a_tie_is_called_a_tie_and_the_first_of_equal_points_stands(tmp_path):
    counts = [4, 0] * 20
    settings = write_sweep(tmp_path, [counts, counts, counts, [0] * 40], GRID)
    found, text = results_of(settings, tmp_path)
    best = found["best"]["1"]
    assert best["values"] == {"entropy_schedule.target": 0.1, "entropy_schedule.ratio": 0.1} and not best["differs"]
    assert best["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0} and len(best["ties"]) == 2
    text = text.replace("\n    ", " ")
    assert "a tie: the difference to target 0.1, ratio 0.2 is 0.000" in text
    assert "which does not exclude 0; 1 more point is tied with it" in text


def test_points_are_compared_on_equal_problems(tmp_path):
    # each problem is solved once more often, by far less than problems differ: only pairs can tell
    low = [0, 5, 10, 15] * 10
    settings = write_sweep(tmp_path, [low, [each + 1 for each in low]], {"top_k": ["0", "9"]}, n=16, k=(1,))
    found, _ = results_of(settings, tmp_path)
    best = found["best"]["1"]
    assert best["difference"] == pytest.approx({"value": 1 / 16, "low": 1 / 16, "high": 1 / 16}) and best["differs"]
    one, other = (each["pass@k"]["1"] for each in found["points"])
    assert (one["value"], other["value"]) == (30 / 64, 34 / 64)
    assert one["high"] > other["low"]  # the intervals of the points themselves overlap


def test_an_interval_over_problems_is_that_of_an_evaluation():
    counts = [0, 1, 4, 3, 2, 2, 0, 4]
    (expected,) = intervals_of(table_of(counts, 4, [2]))
    assert estimate([counts], 4, [2], 5).interval(0) == expected


def test_an_interval_over_seeds_has_the_variance_of_a_mean_of_seeds():
    # without differences between problems only the seeds vary: 0.25 and 0.75, or 0, 0.5 and 1
    for shares in ([0.25, 0.75], [0.0, 0.5, 1.0]):
        found = estimate([[round(4 * share)] * 10 for share in shares], 4, [1], 0)
        error = np.std(shares, ddof=1) / math.sqrt(len(shares))
        assert found.resampled[:, 0].std() == pytest.approx(error, rel=0.03)
        assert found.means[0] == 0.5 and 0.0 <= found.interval(0).low < found.interval(0).high <= 1.0


def test_seeds_that_disagree_make_a_tie_of_what_problems_alone_would_tell_apart():
    first = estimate([[4] * 50, [0] * 50], 4, [1], 0)
    second = estimate([[1] * 50, [2] * 50], 4, [1], 1)
    best = best_of({0: first, 1: second}, 0)
    assert (best.point, best.second, best.is_alone, best.ties) == (0, 1, False, [1])
    assert best_of({7: second}, 0).second is None


def test_missing_runs_are_named_and_not_guessed(tmp_path):
    counts = [[4, 0], [2, 0], None, [1, 1], None, None, None, None]
    settings = write_sweep(tmp_path, counts, GRID, seeds=2, k=(1,))
    found, text = results_of(settings, tmp_path)
    assert [each["seeds"] for each in found["points"]] == [[0, 1], [1]]
    assert found["points"][0]["per seed"] == {"0": {"1": 0.5}, "1": {"1": 0.25}}
    assert found["points"][1]["pass@k"]["1"]["value"] == 0.25
    assert [(each["index"], each["seed"], each["reason"]) for each in found["missing"]] == [
        (2, 0, NOT_FINISHED),
        *((index, index % 2, NOT_FINISHED) for index in (4, 5, 6, 7)),
    ]
    rows = [line.split() for line in text.splitlines()]
    assert ["0.1", "0.2", "1", "of", "2"] in [row[:5] for row in rows]
    assert ["0.5", "0.1", "0", "of", "2", "missing"] in rows
    assert "(where one seed is finished, the intervals say nothing about other seeds)" in text
    assert text.endswith("missing: run 2, 4, 5, 6, 7: not finished")


def test_no_finished_run_is_no_result(tmp_path):
    settings = write_sweep(tmp_path, [None] * 4, GRID)
    found, _ = results_of(settings, tmp_path)
    assert (found["points"], found["best"], len(found["missing"])) == ([], {}, 4)
    assert "sweep.png" not in write_results(settings, tmp_path, dict.fromkeys(range(4), NOT_FINISHED))
    assert not (tmp_path / "sweep.png").exists()


@pytest.mark.parametrize("change", [{"digest": "others"}, {"data": "b.jsonl"}, {"n": 8}])
def test_another_evaluation_is_not_mixed_in(change, tmp_path):
    settings = write_sweep(tmp_path, [[1, 2], None, None, None], GRID)
    write_evaluation(settings.runs(tmp_path)[1], [1, 2], **change)
    with pytest.raises(ValueError, match=r"seed-0/eval-sweep has . completions of 2 problems .* remove that folder"):
        read_results(settings, tmp_path)


def test_a_damaged_evaluation_is_named(tmp_path):
    settings = write_sweep(tmp_path, [[1, 2], None, None, None], GRID)
    (settings.runs(tmp_path)[0].folder / "eval-sweep" / "passk.json").write_text("{")
    with pytest.raises(ValueError, match=r"passk.json cannot be read"):
        read_results(settings, tmp_path)


@pytest.mark.parametrize(
    ("grid", "seeds"),
    [
        (GRID, 2),
        ({"method": ["es", "es_pid"]}, 1),
        ({"a": ["1"]}, 1),
        ({"a": ["1", "2"], "b": ["1", "2"], "c": ["1", "2", "3"]}, 1),
    ],
)
def test_the_files_are_written(grid, seeds, tmp_path):
    size = math.prod(map(len, grid.values())) * seeds
    draws = np.random.default_rng(0)
    counts = [None if run == 1 else draws.integers(0, 5, 20).tolist() for run in range(size)]
    settings = write_sweep(tmp_path, counts, grid, seeds)
    reasons = dict.fromkeys(range(size), NOT_FINISHED)
    text = write_results(settings, tmp_path, reasons)
    assert text.endswith(f"sweep_results.json and sweep.png are in {tmp_path}")
    written = json.loads((tmp_path / "sweep_results.json").read_text())
    assert written == json.loads(json.dumps(as_json(read_results(settings, tmp_path), reasons)))
    image = (tmp_path / "sweep.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    write_results(settings, tmp_path, reasons)
    assert (tmp_path / "sweep.png").read_bytes() == image


def test_one_seed_says_nothing_about_others(tmp_path):
    settings = write_sweep(tmp_path, [[1, 2]] * 4, GRID)
    assert (
        "(one seed; 95% intervals over problems, which say nothing about other seeds)"
        in results_of(settings, tmp_path)[1]
    )
    assert settings_of(GRID).seeds == 1


def test_the_guides_table_is_made_from_the_committed_results():
    found = json.loads((ROOT / "results" / "sweep" / "sweep_results.json").read_text())
    page = (ROOT / "docs" / "guides" / "choose_schedule.md").read_text()
    assert len(found["points"]) == 6
    for point in found["points"]:
        cells = [f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]" for each in point["pass@k"].values()]
        assert f"| {' | '.join([*map(str, point['values'].values()), str(len(point['seeds'])), *cells])} |" in page
    for best in found["best"].values():
        difference = best["difference"]
        words = f"{difference['value']:.3f} [{difference['low']:.3f}, {difference['high']:.3f}]"
        assert f"{words}, which {'excludes' if best['differs'] else 'does not exclude'} 0" in page
