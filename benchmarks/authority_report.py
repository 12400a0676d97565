"""The tables, the figure and the sentences of benchmarks/authority.py, made from its data."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from control_report import table
from matplotlib.figure import Figure


RESULTS = Path(__file__).parent.parent / "results" / "authority"
DATA = RESULTS / "points.jsonl"
KEY = ("subject", "updates", "passes", "learning_rate", "seed", "setting")
CLIPS = ("clip_high", "clip", "clip_low")
ENDS = {  # controls of least and of most entropy, by the sign that the actuator assumes
    "clip_high": ("clip_high 0", "clip_high 4"),
    "clip": ("clip -0.65", "clip 1.3"),
    "clip_low": ("clip_low 0.9", "clip_low 0.02"),
    "entropy_bonus": ("entropy_bonus -0.1", "entropy_bonus 0.1"),
    "kl_coef": ("nothing", "kl_coef 0.1"),
    "repo": ("repo -0.05", "repo 0.05"),
    "sample_weight": ("sample_weight -1", "sample_weight 1"),
}
HEAD = """# Authority: what each actuator does to entropy in one rollout

The completions of a seed are generated once. From the same weights, with fresh moments of AdamW, they are trained on
under each setting. Entropy is measured on the same tokens before and after.

- Effect: entropy after the updates, minus that after the same updates with `nothing`, nats.
- `nothing`: GRPO with `epsilon` 0.2 and `epsilon_high` 0.28. Each setting changes one of the two, or adds its term.
- ±: one standard error over the seeds, whose differences are paired. Without ±, there is one seed.
- Ratio: mean of |ratio - 1| over the tokens after the last update.
- Clipped low, high: share of tokens that a bound stops, mean over the updates.
- `clip -0.65` and `clip 1.3` are powers of ten of both bounds; `clip_high` and `clip_low` are the bound itself.
"""


class Condition(NamedTuple):
    """Updates per pass, passes over the rollout, and learning rate."""

    updates: int
    passes: int
    learning_rate: float

    def __str__(self) -> str:
        stale = f" x {self.passes} passes" if self.passes > 1 else ""
        return f"{self.updates}{stale} at {self.learning_rate:.0e}".replace("e-0", "e-")


class Effect(NamedTuple):
    """Mean effect over the seeds, nats; its standard error (`None` for one seed); the entropy before; the points."""

    mean: float
    error: float | None
    before: float
    points: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.mean:+.3f}" + ("" if self.error is None else f" ± {self.error:.3f}")

    def of(self, field: str) -> float:
        """Return the mean of a field of the points."""
        return mean(point[field] for point in self.points)

    @property
    def share(self) -> str:
        """The effect as a share of the entropy before."""
        return f"{self.mean / self.before:+.0%}"


def load(path: Path | None = None) -> dict[tuple, dict[str, Any]]:
    """Return the measured points by their key."""
    path = path or DATA
    lines = path.read_text().splitlines() if path.exists() else []
    return {tuple(point[name] for name in KEY): point for point in map(json.loads, lines)}


class Subject:
    """The points of one model: their conditions, the middle one first, and their effects."""

    def __init__(self, name: str, points: dict[tuple, dict[str, Any]]):
        self.name = name
        self._points = {key[1:]: point for key, point in points.items() if key[0] == name}
        found = dict.fromkeys(Condition(*key[:3]) for key in self._points)
        self.middle = next(iter(found))
        self.conditions = sorted(found, key=lambda c: (c != self.middle, c.passes, c.updates, c.learning_rate))
        self.settings = list(dict.fromkeys(key[4] for key in self._points))

    def effect(self, setting: str, condition: Condition, of: str = "after") -> Effect | None:
        """Return the effect of a setting; of `nothing` it is the change from before to after."""
        points = [p for key, p in self._points.items() if key[:3] == condition and key[4] == setting]
        pairs = [(p, self._points.get((*condition, p["seed"], "nothing"))) for p in points]
        pairs = [(p, nothing) for p, nothing in pairs if nothing is not None]
        if not pairs:
            return None
        own = [p[of] - (p["before"] if setting == "nothing" else nothing[of]) for p, nothing in pairs]
        error = stdev(own) / len(own) ** 0.5 if len(own) > 1 else None
        return Effect(mean(own), error, mean(p["before"] for p, _ in pairs), [p for p, _ in pairs])

    def bonus_for(self, share: float, condition: Condition) -> float | None:
        """Return the bonus that moves entropy by a share of itself, from the effects of -0.1 and 0.1."""
        low, high = (self.effect(setting, condition) for setting in ENDS["entropy_bonus"])
        if low is None or high is None:
            return None
        return share * low.before / ((high.mean - low.mean) / 0.2)


def middle_table(subject: Subject) -> str:
    """Return the effects of all settings in the middle condition as Markdown."""
    rows = [["setting", "effect, nats", "of the entropy", "ratio", "clipped low", "clipped high"]]
    is_fresh = all("fresh" in point for point in load().values() if point["subject"] == subject.name)
    rows[0] += ["effect on new completions"] if is_fresh else []
    for setting in subject.settings:
        effect = subject.effect(setting, subject.middle)
        if effect is None:
            continue
        name = "nothing: change of entropy" if setting == "nothing" else setting
        shares = [f"{effect.of(f'clipped_{side}'):.3f}" for side in ("low", "high")]
        fresh = [str(subject.effect(setting, subject.middle, "fresh"))] if is_fresh else []
        rows.append([name, str(effect), effect.share, f"{effect.of('ratio'):.3f}", *shares, *fresh])
    return table(rows)


def condition_table(subject: Subject) -> str:
    """Return the effects of the settings that were measured in several conditions as Markdown."""
    rows = [["setting", *map(str, subject.conditions)]]
    for setting in subject.settings:
        effects = [subject.effect(setting, condition) for condition in subject.conditions]
        if sum(effect is not None for effect in effects) > 1:
            name = "nothing: change of entropy" if setting == "nothing" else setting
            rows.append([name, *("-" if effect is None else str(effect) for effect in effects)])
    ratios = [subject.effect("nothing", condition).of("ratio") for condition in subject.conditions]
    rows.append(["ratio of `nothing`", *(f"{ratio:.3f}" for ratio in ratios)])
    bonuses = [subject.bonus_for(0.05, condition) for condition in subject.conditions]
    rows.append(["bonus that moves 5 %", *("-" if bonus is None else f"{bonus:.2g}" for bonus in bonuses)])
    return table(rows)


def sentences(subject: Subject) -> str:
    """Return one line per actuator: from one end of its range to the other in the middle condition."""
    lines = []
    for name, ends in ENDS.items():
        low, high = (subject.effect(end, subject.middle) for end in ends)
        if low is None or high is None:
            continue
        own = [each for each in (low, high) if each.points[0]["setting"] != "nothing"]
        more = (high.mean if own[-1] is high else 0.0) - (low.mean if own[0] is low else 0.0)
        errors = [each.error or 0.0 for each in own]
        error = sum(each**2 for each in errors) ** 0.5
        verdict = "raises entropy" if more > 2 * error else "lowers entropy" if more < -2 * error else "moves nothing"
        lines.append(
            f"- `{name}`: from `{ends[0]}` to `{ends[1]}` entropy changes by {more:+.3f} ± {error:.3f} nats "
            f"({more / low.before:+.1%}): it {verdict} beyond two standard errors."
        )
    return "\n".join(lines)


def draw(subjects: list[Subject], path: Path) -> None:
    """Draw the effects in the middle condition, one panel per model."""
    figure = Figure(figsize=(6.0 * len(subjects), 6.5), layout="constrained")
    for place, subject in enumerate(subjects, start=1):
        axes = figure.add_subplot(1, len(subjects), place)
        found = [(setting, subject.effect(setting, subject.middle)) for setting in subject.settings]
        found = [(setting, effect) for setting, effect in found if effect is not None and setting != "nothing"][::-1]
        for row, (setting, effect) in enumerate(found):
            colour = "tab:blue" if setting.split()[0] in CLIPS else "tab:orange"
            axes.errorbar(effect.mean, row, xerr=effect.error or 0.0, fmt="o", color=colour, capsize=3)
        axes.set_yticks(range(len(found)), [setting for setting, _ in found])
        axes.axvline(0.0, color="grey", linewidth=0.8)
        before = subject.effect("nothing", subject.middle).before
        axes.set_title(f"{subject.name}: {subject.middle}, {before:.2f} nats before")
        axes.set_xlabel("effect on entropy in one rollout, nats")
    figure.savefig(path, dpi=110)


def report() -> str:
    """Write `summary.md` and the figure, and return the text."""
    points = load()
    subjects = [Subject(name, points) for name in dict.fromkeys(key[0] for key in points)]
    parts = [HEAD]
    for subject in subjects:
        parts += [f"## {subject.name}\n", f"Middle condition: {subject.middle}, updates and learning rate.\n"]
        parts += [sentences(subject), "", middle_table(subject), "### Other conditions\n", condition_table(subject)]
    text = "\n".join(parts)
    (RESULTS / "summary.md").write_text(text)
    draw(subjects, RESULTS / "authority.png")
    return text
