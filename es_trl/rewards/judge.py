"""Whether an answer equals a gold one, by math-verify. It runs in a worker, and imports nothing that starts slowly."""

import functools
from typing import Any

import sympy
from latex2sympy2_extended.logic import And
from latex2sympy2_extended.sets import FiniteSet
from math_verify import LatexExtractionConfig, parse, verify

from .answers import final_answer, find_answer
from .notation import contradict, plain


PRECISION = 50  # digits to which two expressions must agree
_LATEX = (LatexExtractionConfig(),)


class UnreadableGold(Exception):
    """A gold answer that math-verify cannot read."""


def is_right(completion: str, golds: list[str]) -> bool:
    """Return whether the answer of a completion equals one of the gold answers."""
    texts = [plain(final_answer(gold)) for gold in golds]
    read = [_read_gold(text) for text in texts]  # an unreadable one is told also where there is no answer
    answer = find_answer(completion)
    if answer is None:
        return False
    readings = []
    if answer.prose:
        readings.append(("", [_exact(value) for value in parse(answer.text, parsing_timeout=None)]))
    if latex := answer.bare if answer.prose else answer.text:
        readings.append((plain(latex), _read(plain(latex))))
    return any(
        not contradict(gold_text, text)
        and not _other_kind(gold[0], text, expressions)
        and verify(gold, expressions, numeric_precision=PRECISION, timeout_seconds=None)
        for gold_text, gold in zip(texts, read, strict=True)
        for text, expressions in readings
    )


def equals_itself(gold: str) -> bool:
    """Return whether a gold answer can be judged: it is read as mathematics or as a word, and equals itself."""
    text = plain(final_answer(gold))
    read = _read_gold(text)[0]
    if isinstance(read, str):  # compared letter by letter, which suits words alone
        readable = not set("\\{}") & set(text) and any(map(str.isalnum, text))
    else:
        readable = not read.has(sympy.zoo, sympy.nan)
    lines = "\n" in text and "\\begin" not in text
    return readable and not lines and is_right(f"\\boxed{{{text}}}", [gold])


@functools.lru_cache(maxsize=64)  # a group's completions share their gold answer
def _read_gold(text: str) -> list[Any]:
    read = _read(text) if text else []
    if not read:
        raise UnreadableGold(text)
    return read


def _read(text: str) -> list[Any]:
    """Return the readings of LaTeX: as an expression where it is one, and as text."""
    return [_exact(value) for value in parse(f"\\boxed{{{text}}}", _LATEX, parsing_timeout=None)]


def _exact(value: Any) -> Any:
    """Return a reading with decimals as fractions, so that 0.333333 is not 1/3, and `i` as the imaginary unit."""
    if isinstance(value, str):
        return value
    if isinstance(value, FiniteSet | And):  # the order of their arguments counts
        return type(value)(*map(_exact, value._unsorted_args))
    if isinstance(value, sympy.Tuple):
        return sympy.Tuple(*map(_exact, value))
    decimals = {number: sympy.Rational(str(number)) for number in value.atoms(sympy.Float)}
    if decimals:
        value = value.xreplace(decimals)
    if isinstance(value, sympy.Expr | sympy.MatrixBase):
        value = value.subs({symbol: sympy.I for symbol in value.free_symbols if symbol.name == "i"})
    return value


def _other_kind(gold: Any, text: str, answer: list[Any]) -> bool:
    """Return whether a tuple answers a set, or a set in braces a tuple; math-verify compares only their elements."""
    if isinstance(gold, sympy.FiniteSet):
        return bool(answer) and _in_brackets(answer[0])
    return _in_brackets(gold) and text.startswith(("\\{", "\\left\\{", "\\lbrace"))


def _in_brackets(value: Any) -> bool:
    return isinstance(value, sympy.Tuple) or (isinstance(value, sympy.Interval) and bool(value.is_open))
