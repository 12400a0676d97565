"""The search for the answer in a text: in boxes, in tags, or after a mark such as `####`."""

import re
from typing import NamedTuple


MAX_PROSE_CHARS = 2000  # without a box or tags, only so many characters at the end are searched
MAX_BARE_CHARS = 200  # longest completion that may be nothing but its answer
MAX_ANSWER_CHARS = 5000  # longest content of a box or tags

_MARKED_ANSWERS = (r"####\s*(.+)\s*\Z", r"The answer is:\s*(.+)\s*\Z")  # the last lines of GSM8K and MATH
_TOKENS = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*(?P<bare>[^\s\\${}]+)?|\\.|[{}]", re.DOTALL)
_AND = re.compile(r"[\s$]*(?:[,;]|,?\s*(?:and|or)|,?\s*\\text\{\s*(?:and|or)\s*\})[\s$]*(?:(?P<name>\w+)\s*=\s*)?")
_NAMED = re.compile(r"(?<!\w)(\w+)\s*=\s*\Z")
_MATHEMATICS = re.compile(r"(?<!\\)\$|\\[(\[]")
_WORD = re.compile(r"(?<![\\{a-zA-Z])[a-zA-Z]{2,}")


class Answer(NamedTuple):
    """The answer of a completion."""

    text: str  # LaTeX, or prose in which math-verify looks for it
    prose: bool
    bare: str = ""  # the whole completion as LaTeX, if it may be nothing but the answer


class _Box(NamedTuple):
    """The positions of a box and of its content in a text."""

    start: int
    open: int
    close: int  # -1 if the box is never closed
    end: int


def final_answer(solution: str) -> str:
    """
    Return the answer of a worked solution.

    Args:
        solution (`str`):
            A solution that ends in `#### answer`, in `The answer is: answer` or in a boxed answer; or a bare answer.

    Returns:
        `str`: the text after the mark, else the content of the last box, else the whole text.
    """
    for pattern in _MARKED_ANSWERS:
        if marked := re.search(pattern, solution):
            return _without_dollars(marked.group(1))
    boxes = _boxes(solution)
    return _content(solution, boxes) if boxes else _without_dollars(solution)


def find_answer(completion: str) -> Answer | None:
    """
    Return the answer of a completion, by the rules of `docs/guides/data.md`.

    The last box counts, together with boxes before it that are joined to it by a comma, "and" or "or". The value is
    `None` if the last box or tag is empty, never closed or too long.
    """
    if boxes := _boxes(completion):
        return _checked(_content(completion, boxes), prose=False) if boxes[-1].close >= 0 else None
    end = completion.rfind("</answer>")
    start = completion.rfind("<answer>", 0, max(end, 0))
    if start >= 0:
        content = completion[start + len("<answer>") : end]
        return _checked(content, _is_prose(content))
    last = completion[-MAX_PROSE_CHARS:]
    marked = final_answer(last)
    if marked != _without_dollars(last) and not _is_prose(marked):
        return _checked(marked, prose=False)
    is_bare = "\n" not in completion.strip() and len(completion) <= MAX_BARE_CHARS
    return Answer(last, prose=True, bare=_without_dollars(completion) if is_bare else "")


def _checked(content: str, prose: bool) -> Answer | None:
    return Answer(content, prose) if content.strip(" \n\t$") and len(content) <= MAX_ANSWER_CHARS else None


def _is_prose(text: str) -> bool:
    """Return whether a text has LaTeX between dollars or brackets, or more than two words."""
    return _MATHEMATICS.search(text) is not None or len(_WORD.findall(text)) > 2


def _without_dollars(text: str) -> str:
    text = text.strip()
    return text if text.endswith("\\$") else text.strip("$")


def _boxes(text: str) -> list[_Box]:
    """Return the outermost boxes of a text, in time that is linear in its length."""
    boxes: list[_Box] = []
    box, depth = None, 0  # depth counts the open braces in the box
    for token in _TOKENS.finditer(text):
        found = token.group()
        if box is None:
            if token.group("bare"):  # \boxed 3
                boxes.append(_Box(token.start(), token.start("bare"), token.end(), token.end()))
            elif found.startswith(("\\boxed", "\\fbox")) and text[token.end() : token.end() + 1] == "{":
                box, depth = (token.start(), token.end() + 1), 0
        elif found in ("{", "}"):
            depth += 1 if found == "{" else -1
            if depth == 0:
                boxes.append(_Box(*box, token.start(), token.end()))
                box = None
    return boxes if box is None else [*boxes, _Box(*box, -1, len(text))]


def _content(text: str, boxes: list[_Box]) -> str:
    """Return the content of the last box and of the boxes that are joined to it, with commas between them."""
    first = len(boxes) - 1
    while first > 0 and _joined(text, boxes[first - 1], boxes[first]):
        first -= 1
    contents = [text[box.open : box.end if box.close < 0 else box.close].strip() for box in boxes[first:]]
    return ",".join(contents) if contents[-1] else ""


def _joined(text: str, left: _Box, right: _Box) -> bool:
    """
    Return whether two boxes belong to one answer, for example `x = \\boxed{1} or x = \\boxed{2}`.

    Only a comma, "and" or "or" may be between them, apart from the same `x =` before both.
    """
    between = _AND.fullmatch(text, left.end, right.start)
    if between is None:
        return False
    named = _NAMED.search(text, max(0, left.start - 40), left.start)
    return between.group("name") is None or (named is not None and named.group(1) == between.group("name"))
