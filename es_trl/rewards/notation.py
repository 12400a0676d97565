"""Notations of answers: translation into LaTeX that math-verify reads, and comparison of units and number bases."""

import numbers
import re
from decimal import Decimal, InvalidOperation
from typing import Any


MAX_DIGITS = 4300  # Python's limit for an integer as text

_COMMANDS = r"π\pi ∞\infty ×\times ·\cdot ÷\div −- ≤\le ≥\ge ≠\ne ±\pm ∪\cup ∩\cap ∈\in °^\circ ²^2 ³^3 "
_COMMANDS += r"½\frac{1}{2} ¼\frac{1}{4} ¾\frac{3}{4}"
_SYMBOLS = str.maketrans({pair[0]: pair[1:] + " " * pair[-1].isalpha() for pair in _COMMANDS.split()})
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))")
_GROUPED = re.compile(r"(?<=\d)\\[,!;](?=\d{3}(?!\d))")  # 1\,000\,000
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+|[a-zA-Z]))")
_E_NOTATION = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)[eE][+-]?\d{1,4}", re.ASCII)
_ENDS = re.compile(r"(?:\\\\|\\[,;:! ]|\\\Z|(?<!\.)\.|\s)+\Z")  # spaces, line breaks and a full stop at the end

_NUMBER = re.compile(r"\(?\s*((?=[A-Za-z]*\d)[0-9A-Za-z]+)\s*\)?(?:_\{(\d+)\})?")
_INDEX = re.compile(
    r"(?<=[0-9A-Za-z)])\s*_\s*(?:(\d+)|\{\s*(?:\\(?:text|mathrm)\s*\{)?\s*\(?\s*(\w+)\s*\)?\s*\}{1,2})\Z"
)
_BASES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_UNIT = re.compile(
    r"(?<=[\d})])(?:\\[,;:! ]|\s|~)*(?:\\(?:text|mathrm|textrm|mbox|rm)\b\s*)?\{?\s*"
    r"(?P<word>(?:sq(?:uare|\.)?|cu(?:bic|\.)?)?\s*[a-zA-Z]+)\.?\s*\}?\s*(?:\^\s*\{?\s*(?P<power>[23])\s*\}?)?\s*\}?\Z"
)
_VARIABLE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")
_SPELLINGS = """
    mm millimeter millimetre, cm centimeter centimetre, m meter metre, km kilometer kilometre, in inch inche,
    ft foot feet, yd yard, mi mile, mg milligram, g gram gm, kg kilogram, lb pound, oz ounce, ml milliliter millilitre,
    l liter litre, ms millisecond, s second sec, min minute, h hour hr, day, week, month, year yr, cent, dollar
"""
_UNITS = {spelling: unit.split()[0] for unit in _SPELLINGS.split(",") for spelling in unit.split()}


def plain(text: str) -> str:
    """Return an answer in a form that math-verify reads: LaTeX commands for symbols, `1e-7` in digits, no full stop."""
    text = _GROUPED.sub("", _ENDS.sub("", text.strip()).removeprefix("=")).translate(_SYMBOLS)
    text = _ROOT.sub(lambda root: rf"\sqrt{{{next(filter(None, root.groups()), '')}}}", text)
    text = _REPEATING.sub(_repeating_as_fraction, text)
    text = _INDEX.sub(_index_in_digits, text)
    return shortest(number_text(Decimal(text))) if _E_NOTATION.fullmatch(text) else text


def shortest(text: str) -> str:
    """Return the text of a number without zeros at the end of its decimals."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def number_text(value: Any) -> str | None:
    """
    Return a finite number as text with all its digits, or `None` for other values.

    Digits are needed because math-verify reads `1e-7` as `e - 7`. A number of more than 4300 digits raises.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        return None
    if isinstance(value, numbers.Rational):
        sign, numerator = "-" if value < 0 else "", abs(int(value.numerator))
        return f"{sign}{numerator}" if value.denominator == 1 else f"{sign}\\frac{{{numerator}}}{{{value.denominator}}}"
    try:
        number = Decimal(str(value))
    except InvalidOperation:  # the exponent is too large for Decimal
        raise ValueError(f"more than {MAX_DIGITS} digits") from None
    if number.is_finite() and max(abs(number.adjusted()), len(number.as_tuple().digits)) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    return format(number, "f") if number.is_finite() else None


def contradict(gold: str, answer: str) -> bool:
    """Return whether two answers have different known units or number bases, both of which math-verify ignores."""
    units = _unit(gold), _unit(answer)
    if None not in units and units[0] != units[1]:
        return True
    numbers = _NUMBER.fullmatch(gold), _NUMBER.fullmatch(answer)
    if None in numbers:
        return False
    (number, base), (answered, answered_base) = (found.groups() for found in numbers)
    if answered_base not in (None, base or "10"):
        return True
    return base is not None and number.lstrip("0").lower() != answered.lstrip("0").lower()


def _unit(text: str) -> tuple[str, str] | None:
    """Return the known unit after a number, and its power; `None` without such a unit."""
    found = _UNIT.search(text)
    if found is None or _VARIABLE.search(text, 0, found.start()):
        return None
    kind, _, word = found.group("word").rpartition(" ")
    name = _UNITS.get(word) or _UNITS.get(word.lower().removesuffix("s"))
    power = found.group("power") or {"s": "2", "c": "3"}.get(kind[:1], "1")
    return None if name is None else (name, power)


def _repeating_as_fraction(found: re.Match[str]) -> str:
    """Return a repeating decimal such as `0.1\\overline{6}` as a fraction."""
    whole, once, again = found.group(1), found.group(2), found.group(3) or found.group(4)
    numerator = int(whole + once + again) - int(whole + once or "0")
    return f"\\frac{{{numerator}}}{{{10 ** len(once) * (10 ** len(again) - 1)}}}"


def _index_in_digits(found: re.Match[str]) -> str:
    """Return the base of a number in one notation: `_2`, `_{(2)}` and `_{\\text{two}}` become `_{2}`."""
    index = found.group(1) or found.group(2)
    return f"_{{{_BASES.index(index) if index in _BASES else index}}}"
