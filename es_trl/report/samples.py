"""The table of sample completions, which the page filters by rollout and by words."""

from collections.abc import Sequence
from typing import Any

from .html import text


MOST = 600_000  # bytes of all texts in a page
SHORTEST = 200  # characters of a text that is shortened


def samples_table(samples: Sequence[dict[str, Any]]) -> str:
    """Return the table of the samples of a run, with its fields to search and to choose; `""` without samples."""
    if not samples:
        return ""
    names = list(dict.fromkeys(name for sample in samples for name in sample["rewards"]))
    longest = _longest(samples)
    numbers = "".join(f'<th class="number">{text(name)}</th>' for name in (*names, "advantage", "tokens"))
    head = f'<th class="number">rollout</th><th>prompt</th><th>completion</th>{numbers}'
    rollouts = list(dict.fromkeys(sample["rollout"] for sample in samples))
    options = "".join(f'<option value="{at}">rollout {at}</option>' for at in rollouts)
    rows = "\n".join(_row(sample, names, longest) for sample in samples)
    note = "" if longest is None else f"<p>Texts are shown without their middle beyond {longest} characters.</p>\n"
    return f"""{note}<form class="filter" id="filter">
<label>Rollout <select id="rollout"><option value="">all</option>{options}</select></label>
<label>Search <input id="words" type="search" placeholder="words of a prompt or completion" autocomplete="off"></label>
<output id="count"></output>
</form>
<div class="box tall"><table id="samples">
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>"""


def _row(sample: dict[str, Any], names: list[str], longest: int | None) -> str:
    cut = ' <span class="cut">cut</span>' if sample["truncated"] else ""
    numbers = [_number(sample["rewards"].get(name)) for name in names] + [_number(sample["advantage"])]
    texts = "".join(
        f'<td><div class="text" dir="auto">{text(shortened(sample[name], longest))}</div></td>'
        for name in ("prompt", "completion")
    )
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    tokens = "-" if sample["tokens"] is None else sample["tokens"]
    at = int(sample["rollout"])
    return (
        f'<tr data-rollout="{at}"><td class="number">{at}</td>{texts}{cells}<td class="number">{tokens}{cut}</td></tr>'
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _longest(samples: Sequence[dict[str, Any]]) -> int | None:
    """Return how many characters a text may have so that the page stays small; `None` where all are short enough."""
    longest: int | None = None
    while _size(samples, longest) > MOST and (longest is None or longest > SHORTEST):
        longest = 4_000 if longest is None else longest // 2
    return longest


def _size(samples: Sequence[dict[str, Any]], longest: int | None) -> int:
    texts = (shortened(sample[name], longest) for sample in samples for name in ("prompt", "completion"))
    return sum(len(text(each).encode()) for each in texts)


def shortened(content: str, longest: int | None) -> str:
    """Return a text without its middle if it has more than `longest` characters."""
    if longest is None or len(content) <= longest:
        return content
    half = longest // 2
    return f"{content[:half]}\n[...]\n{content[-half:]}"
