"""Evaluations side by side: differences with intervals, crossings, and the command."""

import json
import math
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from es_trl.__main__ import main as cli
from es_trl.data import DataArguments
from es_trl.estimates.result import evaluation_folders
from es_trl.evaluation import EvaluationSettings, compare, read_evaluation
from es_trl.evaluation.comparison import crossing, have_same_problems
from es_trl.evaluation.estimating import estimated
from es_trl.evaluation.samples import Tally
from es_trl.rewards.named import RewardArguments


def made(correct, n=4, data="a.jsonl", digest="x", ks=()):
    """An evaluation with these numbers of right completions."""
    settings = EvaluationSettings("m", DataArguments(dataset_name=data), RewardArguments("math"), n=n, ks=ks)
    return estimated(settings, Tally(list(correct), 0.0, 1.0), 0.0, digest)


def stored(folder, evaluation):
    folder.mkdir(parents=True)
    (folder / "passk.json").write_text(evaluation.as_json())
    (folder / "eval.json").write_text(json.dumps({"problems": evaluation.digest}))
    return str(folder)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.2, -0.2, -0.3], math.sqrt(2)),
        ([0.3, 0.1, -0.1], math.sqrt(2 * 8)),
        ([-0.1, 0.1, -0.1], math.sqrt(2)),
        ([0.3, -0.1, -0.1], 2**0.75),
        ([0.1, 0.0, -0.1], 2.0),
        ([0.0, 0.1, -0.1], 4.0),
        ([0.1, 0.2, 0.0], None),
        ([0.0, 0.0, 0.0], None),
        ([-0.1, -0.2, -0.3], None),
        ([0.1, 0.0, 0.1], None),
    ],
)
def test_a_crossing_by_hand(differences, expected):
    found = crossing([1, 2, 8], differences)
    assert found is expected is None or found == pytest.approx(expected)


def test_a_constant_difference_is_known_exactly_only_if_paired():
    """The problems differ much, and each gains as much: only pairs see that the gain is not the draw of problems."""
    first, other = made([0, 1, 2, 3] * 10), made([1, 2, 3, 4] * 10)
    paired = compare(first, other).differences[0]
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.25, 0.25, 0.25))
    found = compare(first, made([1, 2, 3, 4] * 10, digest="y"))
    unpaired = found.differences[0]
    half = 1.96 * math.sqrt(2 * np.var([0, 0.25, 0.5, 0.75]) / 40)
    assert not found.paired and unpaired.value == pytest.approx(0.25)
    assert (unpaired.low, unpaired.high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.01)


def test_a_paired_interval_by_hand():
    """Differences of 1 in a quarter of 100 problems, else 0, whose mean has a standard error of 0.0433."""
    found = compare(made([0] * 100, n=1), made([1] * 25 + [0] * 75, n=1))
    (each,) = found.differences
    assert found.paired and each.value == 0.25
    assert (each.low, each.high) == pytest.approx((0.25 - 1.96 * 0.0433, 0.25 + 1.96 * 0.0433), abs=0.011)


def test_which_problems_are_the_same():
    first = made([1, 2])
    assert have_same_problems(first, made([3, 4], data="elsewhere/a.jsonl"))
    assert not have_same_problems(first, made([3, 4], digest="of the same file, shuffled"))
    assert not have_same_problems(first, made([3, 4, 0]))
    assert have_same_problems(made([1, 2], digest=None), made([3, 4])), "the name of the data decides"
    assert not have_same_problems(made([1, 2], digest=None), made([3, 4], data="b.jsonl"))


def test_curves_that_cross():
    """A sharp model: right always or never. A wide one: right in every fourth completion of every problem."""
    sharp, wide = made([64] * 40 + [0] * 40, n=64), made([16] * 80, n=64)
    found = compare(sharp, wide)
    assert found.differences[0].high < 0 < found.differences[-1].low
    assert found.crossing_share == 1.0 and found.crossing.low < found.crossing.value < found.crossing.high
    inner = [at for at in range(1, 65) if 1 - math.comb(48, at) / math.comb(64, at) > 0.5][0]
    assert inner - 1 < found.crossing.value < inner + 0.1
    text = found.as_text("sharp", "wide")
    assert text.splitlines()[0] == "wide minus sharp, paired over problems" and "100.0 % of the resamples cross" in text
    assert "lower" in text and "higher" in text
    same = compare(sharp, sharp)
    assert (
        same.crossing is None
        and same.crossing_share == 0.0
        and "the curves do not cross; 0.0 %" in str(same.as_text("a", "b"))
    )


def test_only_k_that_both_have():
    found = compare(made([1, 2], n=4, ks=(1, 3)), made([1, 20], n=32))
    assert found.ks == [1, 2, 3, 4]


def test_the_command_compares_runs_and_evaluations(tmp_path, capsys):
    first = stored(tmp_path / "one", made([0, 1, 2, 3]))
    stored(tmp_path / "run" / "eval-old", made([0, 0, 0, 0]))
    stored(tmp_path / "run" / "eval-new", made([1, 2, 3, 4]))
    os.utime(tmp_path / "run" / "eval-old" / "passk.json", (1, 1))
    assert cli(["compare", first, str(tmp_path / "run"), "--output_dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path}/run minus {first}, paired over problems" in printed
    assert "1     +0.2500  +0.2500 to +0.2500          higher" in printed
    assert printed.splitlines()[-1] == f"{tmp_path}/out/compare.png"
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_says_that_it_does_not_pair(tmp_path, capsys):
    first = stored(tmp_path / "one", made([0, 1, 2, 3]))
    other = stored(tmp_path / "other", made([3, 2, 1, 0], digest="y"))
    assert cli(["compare", first, other, "--output_dir", str(tmp_path)]) == 0
    assert f"{other} minus {first}, unpaired, because their problems differ" in capsys.readouterr().out


def test_a_long_path_cuts_no_number(tmp_path, capsys):
    deep = tmp_path / ("runs-of-somebody-with-a-long-name/" * 4)
    names = [stored(deep / name / "eval-a", made([0, 1, 2, 3])) for name in ("one", "other")]
    assert cli(["compare", *names, "--output_dir", str(tmp_path)]) == 0
    table = capsys.readouterr().out.split("\n\n")[0]
    assert table.count("0.375") == 2 and "…" not in table


def test_what_differs_beside_the_numbers_is_said(tmp_path, capsys):
    first, other = made([0, 1, 2, 3]), made([1, 1, 2, 3])
    other = replace(other, rewards=["b.py:b"], settings={**other.settings, "temperature": 2.0})
    names = [stored(tmp_path / "one", first), stored(tmp_path / "other", other)]
    assert cli(["compare", *names, "--output_dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (
        f"note: {names[1]} differs from {names[0]} in rewards (['math'] and ['b.py:b']), temperature (1.0 and 2.0)"
        in printed
    )
    assert f"{names[0]}: m on a.jsonl: 4 problems, 4 completions each ({names[0]})" in printed


def test_of_several_evaluations_those_that_all_runs_have(tmp_path):
    for place, name in enumerate(("one/eval-a", "one/eval-b", "other/eval-a", "other/eval-c")):
        stored(tmp_path / name, made([0, 1]))
        os.utime(tmp_path / name / "passk.json", (place, place))
    found = evaluation_folders([tmp_path / "one", tmp_path / "other", tmp_path / "one" / "eval-b", tmp_path])
    assert found == [tmp_path / "one" / "eval-a", tmp_path / "other" / "eval-a", tmp_path / "one" / "eval-b", None]
    assert evaluation_folders([tmp_path / "one"]) == [tmp_path / "one" / "eval-b"]


def test_one_evaluation_by_two_spellings_is_refused(tmp_path, capsys):
    first = stored(tmp_path / "run" / "eval-a", made([0, 1]))
    (tmp_path / "link").symlink_to(tmp_path / "run" / "eval-a")
    for other in (f"{tmp_path}/run/../run/eval-a", str(tmp_path / "link"), str(tmp_path / "run")):
        assert cli(["compare", first, other]) == 2
        assert re.search("each( evaluation)? once, got", capsys.readouterr().err)


def test_what_has_no_evaluation_is_refused(tmp_path, capsys):
    first = stored(tmp_path / "one", made([0, 1]))
    (tmp_path / "run").mkdir()
    assert cli(["compare", first, str(tmp_path / "run")]) == 2
    assert f"{tmp_path}/run/passk.json does not exist: give the folder of an" in capsys.readouterr().err
    (tmp_path / "run" / "es_history.jsonl").touch()
    assert cli(["compare", first, str(tmp_path / "run")]) == 2
    assert "has no evaluation: run python -m es_trl eval" in capsys.readouterr().err
    assert cli(["compare", first, first]) == 2
    assert "compare must have two folders or more, each once" in capsys.readouterr().err


def test_the_digest_is_read_from_beside_the_result(tmp_path):
    assert read_evaluation(stored(tmp_path / "a", made([0, 1], digest="q"))).digest == "q"
    (tmp_path / "a" / "eval.json").unlink()
    assert read_evaluation(tmp_path / "a").digest is None
