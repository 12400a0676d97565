"""The judge in this process: the tables of verified answers, without a worker."""

import pytest
from verified_answers import RIGHT, WRONG


judge = pytest.importorskip("es_trl.rewards.judge")


def pairs(table):
    """A gold answer and one answer to it, of every line."""
    for line in table.strip().splitlines():
        gold, *answers = line.split(" ~ ")
        yield from ((gold, answer) for answer in answers)


@pytest.mark.parametrize(("table", "right"), [(RIGHT, True), (WRONG, False)], ids=["right", "wrong"])
def test_answers_of_the_tables(table, right):
    told = {pair: judge.is_right(f"So it is \\boxed{{{pair[1]}}}.", [pair[0]]) for pair in pairs(table)}
    assert len(told) > 50 and {pair for pair, verdict in told.items() if verdict is not right} == set()


@pytest.mark.parametrize(("gold", "fits"), [("42", True), ("\\frac12", True), ("1/0", False)])
def test_golds_that_equal_themselves(gold, fits):
    assert judge.equals_itself(gold) is fits


def test_a_gold_that_cannot_be_read_is_told():
    with pytest.raises(judge.UnreadableGold, match=r"^\\text\{\}$"):
        judge.is_right("\\boxed{1}", ["\\text{}"])
