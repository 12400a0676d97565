"""The tables, the figure and the sentences of benchmarks/authority.py, made from its data."""

from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from control_report import load, table
from matplotlib.figure import Figure
from seeds import QUANTILES


RESULTS = Path(__file__).parent.parent / "results" / "authority"
DATA = RESULTS / "points.jsonl"
KEY = ("subject", "updates", "passes", "learning_rate", "warm", "seed", "setting")
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

The completions of a seed are generated once, and trained on from the same weights under each setting. Entropy is
measured on the same tokens before and after. Where a condition says "rollouts later", weights and moments of AdamW are
those after that many rollouts of `nothing`; elsewhere the moments are fresh, and the first updates therefore large.

- Change of entropy: from before the updates to after them, nats.
- Effect: entropy after the updates, minus that after the same updates with `nothing`, nats.
- `nothing`: GRPO with `epsilon` 0.2 and `epsilon_high` 0.28. Each setting changes one of the two, or adds its term.
- ±: one standard error over the seeds, whose differences are paired. Without ±, there is one seed. A sign is sure if
  the 90 % interval of Student's t has one sign; under "Other conditions" it is bold then.
- Conditions: "4 at 1e-5" are 4 updates per pass over the rollout, at a learning rate of 1e-5.
- Ratio: mean of |ratio - 1| over the tokens after the last update.
- Clipped low, high: share of tokens that a bound stops, mean over the updates.
- `clip -0.65` and `clip 1.3` are powers of ten of both bounds; `clip_high` and `clip_low` are the bound itself.
"""


class Condition(NamedTuple):
    """Updates per pass, passes over the rollout, learning rate, and rollouts before."""

    updates: int
    passes: int
    learning_rate: float
    warm: int

    def __str__(self) -> str:
        stale = f" x {self.passes} passes" if self.passes > 1 else ""
        later = f", {self.warm} rollouts later" if self.warm else ""
        return f"{self.updates}{stale} at {self.rate}{later}"

    @property
    def rate(self) -> str:
        """The learning rate, such as 1e-5."""
        return f"{self.learning_rate:.0e}".replace("e-0", "e-")

    @property
    def in_words(self) -> str:
        """The condition as a title, which has one pass over the first rollout."""
        assert (self.passes, self.warm) == (1, 0), "the main condition has one pass over the first rollout"
        return f"{self.updates} updates at a learning rate of {self.rate}"


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
        share = self.mean / self.before
        return f"{share:+.1%}" if abs(share) < 0.1 else f"{share:+.0%}"

    @property
    def is_sure(self) -> bool:
        """Whether the 90 % interval has one sign."""
        return self.error is not None and abs(self.mean) >= QUANTILES[len(self.points) - 2] * self.error

    @property
    def verdict(self) -> str:
        """What the effect does to entropy, if it is 1 % at least and its 90 % interval has one sign."""
        if abs(self.mean) < 0.01 * self.before:
            return "less than 1 %"
        if self.error is None:
            return "one seed"
        if not self.is_sure:
            return "no sure sign"
        return "more control raises it" if self.mean > 0.0 else "more control lowers it"


class Subject:
    """The points of one model: their conditions, the middle one first, and their effects."""

    def __init__(self, name: str, points: dict[tuple, dict[str, Any]]):
        self.name = name
        self._points = {key[1:]: point for key, point in points.items() if key[0] == name}
        found = dict.fromkeys(Condition(*key[:4]) for key in self._points)
        self.middle = next(iter(found))
        self.conditions = sorted(found, key=lambda c: (c != self.middle, c.warm, c.passes, c.updates, c.learning_rate))
        self.settings = list(dict.fromkeys(key[5] for key in self._points))
        self.has_fresh = all("fresh" in point for point in self._points.values())

    def effect(
        self, setting: str, condition: Condition, reference: str = "nothing", of: str = "after"
    ) -> Effect | None:
        """Return the effect of a setting against a reference, or `None` if they have no seed in common."""
        found = {key[4]: p for key, p in self._points.items() if key[:4] == condition and key[5] == setting}
        pairs = [(p, self._points.get((*condition, seed, reference))) for seed, p in found.items()]
        return _effect([(p, p[of] - other[of]) for p, other in pairs if other is not None])

    def fall(self, setting: str, condition: Condition) -> Effect | None:
        """Return the change of entropy from before the updates to after them."""
        found = [p for key, p in self._points.items() if key[:4] == condition and key[5] == setting]
        return _effect([(p, p["after"] - p["before"]) for p in found])

    def bonus_for(self, share: float, condition: Condition) -> float | None:
        """Return the bonus that moves entropy by a share of itself, from the difference of -0.1 and 0.1."""
        low, high = ENDS["entropy_bonus"]
        effect = self.effect(high, condition, low)
        if effect is None or effect.mean == 0.0:
            return None
        return share * effect.before / (effect.mean / 0.2)


def _effect(pairs: list[tuple[dict[str, Any], float]]) -> Effect | None:
    """Return the effect of points with a difference each."""
    if not pairs:
        return None
    own = [difference for _, difference in pairs]
    error = stdev(own) / len(own) ** 0.5 if len(own) > 1 else None
    return Effect(mean(own), error, mean(point["before"] for point, _ in pairs), [point for point, _ in pairs])


def middle_table(subject: Subject) -> str:
    """Return the effects of all settings in the middle condition as Markdown."""
    rows = [["setting", "change of entropy", "effect", "of the entropy", "ratio", "clipped low", "clipped high"]]
    rows[0] += ["effect on new completions"] if subject.has_fresh else []
    for setting in subject.settings:
        effect, fall = subject.effect(setting, subject.middle), subject.fall(setting, subject.middle)
        if effect is None:
            continue
        shares = [f"{effect.of(f'clipped_{side}'):.3f}" for side in ("low", "high")]
        fresh = [str(subject.effect(setting, subject.middle, of="fresh"))] if subject.has_fresh else []
        own = ["-", "-", *fresh] if setting == "nothing" else [str(effect), effect.share, *fresh]
        rows.append([setting, str(fall), *own[:2], f"{effect.of('ratio'):.3f}", *shares, *own[2:]])
    return table(rows)


def condition_table(subject: Subject) -> str:
    """Return the change from one end of each actuator to the other in every condition, as Markdown."""
    rows = [["", *map(str, subject.conditions)]]
    falls = [subject.fall("nothing", condition) for condition in subject.conditions]
    rows.append(["seeds", *(str(len(fall.points)) for fall in falls)])
    rows.append(["`nothing`: ratio", *(f"{fall.of('ratio'):.3f}" for fall in falls)])
    for setting in ("nothing", "clip_high 0", "entropy_bonus 0.1", "sample_weight 1"):
        changes = [subject.fall(setting, condition) for condition in subject.conditions]
        rows.append([f"`{setting}`: change of entropy", *map(marked, changes)])
    for low, high in ENDS.values():
        effects = [subject.effect(high, condition, low) for condition in subject.conditions]
        rows.append([f"from `{low}` to `{high}`", *map(marked, effects)])
    bonuses = [subject.bonus_for(0.05, condition) for condition in subject.conditions]
    rows.append(["bonus that moves 5 % of the entropy", *("-" if b is None else f"{b:.2g}" for b in bonuses)])
    return table(rows)


def marked(effect: Effect | None) -> str:
    """Return an effect, in bold if its sign is sure, or "-" where it was not measured."""
    return "-" if effect is None else f"**{effect}**" if effect.is_sure else str(effect)


def sentences(subject: Subject) -> str:
    """Return one line per actuator: the change from one end of its range to the other in the middle condition."""
    lines = []
    for name, (low, high) in ENDS.items():
        effect = subject.effect(high, subject.middle, low)
        if effect is None:
            continue
        lines.append(
            f"- `{name}`, from `{low}` to `{high}`: {effect} nats ({effect.share} of the entropy): {effect.verdict}."
        )
    return "\n".join(lines)


def draw(subjects: list[Subject], path: Path) -> None:
    """Draw the effects in the middle condition, one panel per model."""
    figure = Figure(figsize=(6.0 * len(subjects), 6.5), layout="constrained")
    for place, subject in enumerate(subjects, start=1):
        axes = figure.add_subplot(1, len(subjects), place)
        settings = [each for name in ENDS for each in subject.settings if each.split()[0] == name][::-1]
        found = [(setting, subject.effect(setting, subject.middle)) for setting in settings]
        found = [(setting, effect) for setting, effect in found if effect is not None]
        for row, (setting, effect) in enumerate(found):
            colour = "tab:blue" if setting.split()[0] in CLIPS else "tab:orange"
            axes.errorbar(effect.mean, row, xerr=effect.error, fmt="o", color=colour, capsize=3)
        axes.set_yticks(range(len(found)), [setting for setting, _ in found])
        axes.axvline(0.0, color="grey", linewidth=0.8)
        before = subject.fall("nothing", subject.middle).before
        axes.set_title(f"{subject.name}\n{subject.middle.in_words}; {before:.2f} nats before", fontsize=10)
        axes.set_xlabel("effect on entropy in one rollout, nats; bars: one standard error")
    figure.savefig(path, dpi=110)


def report() -> str:
    """Write `summary.md` and the figure, and return the text."""
    points = load(DATA, KEY)
    subjects = [Subject(name, points) for name in dict.fromkeys(key[0] for key in points)]
    parts = [HEAD]
    for subject in subjects:
        parts += [f"## {subject.name}\n", f"Main condition: {subject.middle.in_words}.\n"]
        parts += [sentences(subject), "", middle_table(subject), "### Other conditions\n", condition_table(subject)]
    text = "\n".join(parts)
    (RESULTS / "summary.md").write_text(text)
    draw(subjects, RESULTS / "authority.png")
    return text
