import math
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest
from huggingface_hub import constants

from es_trl.rewards import check_golds, gold_texts, math_reward
from es_trl.rewards import golds as golds_module


pytest.importorskip("math_verify")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    return tmp_path / "es_trl" / "golds"


@pytest.mark.parametrize(
    ("gold", "texts"),
    [
        ("007", ["007"]),
        (2**100, ["1267650600228229401496703205376"]),
        (9007199254740993, ["9007199254740993"]),
        (-3, ["-3"]),
        (0.5, ["0.5"]),
        (2.0, ["2"]),
        (100.0, ["100"]),
        (1e-7, ["0.0000001"]),
        (1e22, ["10000000000000000000000"]),
        (Decimal("1.10"), ["1.1"]),
        (Decimal("1E+3"), ["1000"]),
        (Fraction(-1, 3), ["-\\frac{1}{3}"]),
        (Fraction(4, 2), ["2"]),
        (numpy.int64(7), ["7"]),
        (numpy.float32(0.1), ["0.1"]),
        (["1", -1], ["1", "-1"]),
        ((0.5,), ["0.5"]),
    ],
)
def test_golds_as_text(gold, texts):
    assert gold_texts(gold, 0) == texts


@pytest.mark.parametrize(
    "gold",
    [
        None,
        True,
        math.nan,
        math.inf,
        Decimal("NaN"),
        1j,
        b"7",
        {"a": 1},
        {1},
        date(2020, 1, 5),
        ["1", None],
        [["1"]],
        [],
    ],
)
def test_other_golds_are_refused(gold):
    with pytest.raises(ValueError, match="^`solution` of row 3 must "):
        gold_texts(gold, 3)
    with pytest.raises(ValueError, match="^`answer` of row 3 of a.jsonl must "):
        gold_texts(gold, "`answer` of row 3 of a.jsonl")


@pytest.mark.parametrize("gold", [10**4400, Decimal("1E+4400"), Decimal("1E-4400")], ids=["int", "large", "small"])
def test_numbers_too_long_to_write_are_refused(gold):
    with pytest.raises(
        ValueError, match="^`solution` of row 3 must be a number of at most 4300 digits: give it as text"
    ):
        gold_texts(gold, 3)


@pytest.mark.slow
def test_numbers_are_judged_as_the_numbers_they_are():
    golds = [2**100, 1e-7, 1e-7, 9007199254740993, 0.1, Fraction(1, 3)]
    answers = [f"\\boxed{{{a}}}" for a in (str(2**100), "1e-7", "2e-7", "9007199254740992", "\\frac{1}{10}", "1/3")]
    assert math_reward(answers, golds) == [1.0, 1.0, -1.0, -1.0, 1.0, 1.0]


@pytest.mark.slow
def test_golds_that_can_be_judged_pass_once(cache, monkeypatch):
    golds = [
        "7",
        "7",
        8,
        ["x=1", "\\frac{1}{2}"],
        "\\text{Evelyn}",
        "東京",
        "0.\\overline{3}",
        "1e-7",
        "so\n#### 5",
        "thus\n#### 5",
    ]
    asked = []
    pool = golds_module.workers()

    class Counting:
        def ask(self, questions, seconds):
            asked.extend(questions)
            return pool.ask(questions, seconds)

    monkeypatch.setattr(golds_module, "workers", Counting)
    check_golds(golds, "train.jsonl")
    assert len(asked) == 9 and len(set(asked)) == 9  # equal answers once
    check_golds(golds, "another name")
    assert len(asked) == 9 and len(list(cache.iterdir())) == 1
    check_golds([*golds, "11"], "train.jsonl")
    assert len(asked) == 19


@pytest.mark.slow
@pytest.mark.parametrize(
    "gold",
    [
        "",
        "$$",
        "1/0",
        "\\frac{1}{",
        "\\boxed{}",
        "\\unknown{5",
        "???",
        "see\nthe appendix",
        "(" * 60 + "1" + ")" * 60,
        ["7", ""],
    ],
)
def test_golds_that_cannot_be_judged_are_named(gold, cache, monkeypatch):
    monkeypatch.setattr(golds_module, "SECONDS_PER_ANSWER", 1.0)
    golds = ["7", gold, "8", gold]
    with pytest.raises(ValueError, match="cannot judge 2 of 4 gold answers, in row 1 of a.jsonl, row 3 of a.jsonl; "):
        check_golds(golds, "a.jsonl")
    with pytest.raises(ValueError, match="in line 2, line 4; the first is .*: correct or drop these rows, or set"):
        check_golds(golds, lambda row: f"line {row + 1}")
    assert not cache.exists()


@pytest.mark.slow
def test_many_bad_golds_are_counted():
    with pytest.raises(ValueError, match="20 of 20 .* row 4 of a.jsonl, ...; the first is '\\.\\.\\.x+"):
        check_golds(["x" * 200 + "\\frac{"] * 20, "a.jsonl")


def test_a_gold_of_another_type_is_named():
    with pytest.raises(ValueError, match="^the answer in row 1 of a.jsonl must be text, a finite number"):
        check_golds(["7", None], "a.jsonl")


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    said = []
    monkeypatch.setattr(golds_module.logger, "warning", said.append)
    check_golds(["7"], "a.jsonl")
    assert len(said) == 1 and "cannot be written" in said[0]
