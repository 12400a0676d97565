"""The judge, which compares an answer with gold answers by math-verify.

It runs in a worker, so it must not import torch or transformers, which load slowly.
"""

import functools
from typing import Any

import sympy
from latex2sympy2_extended.logic import And
from latex2sympy2_extended.sets import FiniteSet
from math_verify import LatexExtractionConfig, parse, verify

from .answers import final_answer, find_answer
from .notation import contradict, plain


PRECISION = 50  # number of digits in which two expressions must agree
_LATEX = (LatexExtractionConfig(),)


class UnreadableGold(Exception):
    """A gold answer that math-verify cannot read."""


def is_right(completion: str, golds: list[str]) -> bool:
    """Return whether the answer of a completion equals one of the gold answers."""
    texts = [plain(final_answer(gold)) for gold in golds]
    read = [_read_gold(text) for text in texts]  # an unreadable gold answer must raise even without an answer
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
    """Return whether a gold answer can be judged: it reads as mathematics or as a word, and is equal to itself."""
    text = plain(final_answer(gold))
    read = _read_gold(text)[0]
    if isinstance(read, str):  # math-verify compares text letter by letter, which is right only for words
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
    """Return math-verify's readings of a LaTeX text: an expression if it can be parsed, and the text itself."""
    return [_exact(value) for value in parse(f"\\boxed{{{text}}}", _LATEX, parsing_timeout=None)]


def _exact(value: Any) -> Any:
    """Return a reading with exact decimals, so that 0.333333 is not 1/3, and with `i` as the imaginary unit."""
    if isinstance(value, str):
        return value
    if isinstance(value, FiniteSet | And):  # the order of the arguments matters, and `args` is sorted
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
    """
    Return whether one value is a set in braces and the other a tuple in brackets.

    math-verify would compare only their elements.
    """
    if isinstance(gold, sympy.FiniteSet):
        return bool(answer) and _in_brackets(answer[0])
    return _in_brackets(gold) and text.startswith(("\\{", "\\left\\{", "\\lbrace"))


def _in_brackets(value: Any) -> bool:
    return isinstance(value, sympy.Tuple) or (isinstance(value, sympy.Interval) and bool(value.is_open))
