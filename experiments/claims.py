"""The paper's claims, each with the rule that gives its verdict from the data.

A claim has one effect per seed, such as a difference between two arms. It is held if the interval of the mean effect
over seeds lies wholly on the side of 0 that the paper says. A claim of a mere difference is held on either side.

The interval is Student's, because a bootstrap over so few seeds is too narrow: without any effect, it would hold 19 %
of the claims with two seeds and 9 % with three, even widened for their number. This one holds 5 % with any number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Literal

from following import follows
from seeds import interval_of

from es_trl.estimates.intervals import Interval


Run = Mapping[str, Any]  # a line of the data
Runs = Mapping[str, Mapping[int, Run]]  # by arm and seed
HELD, NOT_HELD, NOT_MEASURED, NOT_MEASURABLE = "held", "not held", "not measured yet", "not measurable here"
LEAST = 2  # seeds


@dataclass(frozen=True)
class Measure:
    """A number of one run, with its name in a rule."""

    name: str
    of: Callable[[Run], float]


@dataclass(frozen=True)
class Effect:
    """
    A number per seed.

    Args:
        arms (`tuple[str, ...]`):
            The arms that it needs.
        rule (`str`):
            What it is, in words.
        of (`Callable`):
            Function from one seed's runs by arm to the number.
    """

    arms: tuple[str, ...]
    rule: str
    of: Callable[[Mapping[str, Run]], float]


@dataclass(frozen=True)
class Claim:
    """
    A claim of the paper.

    Args:
        figure (`str`):
            The figure that shows it, such as `fig2`.
        text (`str`):
            The claim in a sentence.
        effect (`Effect`):
            What is measured.
        sign (`int`, *optional*, defaults to `1`):
            1 if the paper says that the effect is above 0, -1 for below, and 0 for either.
    """

    figure: str
    text: str
    effect: Effect
    sign: Literal[-1, 0, 1] = 1

    @property
    def rule(self) -> str:
        """The rule of the verdict, in words."""
        return f"{self.effect.rule} {({1: '> 0', -1: '< 0', 0: '≠ 0'})[self.sign]}"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, with its effect; `effects` has one number per seed with all runs."""

    claim: Claim
    word: str
    effects: dict[int, float] = field(default_factory=dict)
    interval: Interval | None = None


def unbroken(arms: Iterable[str], runs: Runs) -> dict[str, list[Run]]:
    """Return the runs that did not break of the arms that have some."""
    found = {arm: [run for run in runs.get(arm, {}).values() if not run["failure"]] for arm in arms}
    return {arm: own for arm, own in found.items() if own}


def judge(claim: Claim, runs: Runs) -> Verdict:
    """
    Return the verdict of a claim's rule on the runs.

    Seeds do not count in which an arm is missing, broke, or did not follow its target.
    """
    whole = {
        arm: {seed: run for seed, run in runs.get(arm, {}).items() if not run["failure"]} for arm in claim.effect.arms
    }
    kept = {arm: {seed: run for seed, run in own.items() if follows(run)} for arm, own in whole.items()}
    seeds = sorted(set.intersection(*map(set, kept.values())))
    effects = {seed: claim.effect.of({arm: runs[arm][seed] for arm in claim.effect.arms}) for seed in seeds}
    if len(effects) < LEAST:
        strayed = any(own and not kept[arm] for arm, own in whole.items())  # no run of an arm followed its target
        return Verdict(claim, NOT_MEASURABLE if strayed else NOT_MEASURED, effects)
    found = interval_of(list(effects.values()))
    side = 1 if found.low > 0 else -1 if found.high < 0 else 0
    is_held = side != 0 and claim.sign in (side, 0)
    return Verdict(claim, HELD if is_held else NOT_HELD, effects, found)


# --- what is measured -------------------------------------------------------------------------------------------------


def pass_at(k: Literal["1", "max"], place: int = 0) -> Measure:
    """Return pass@k of the final model, for 1 or the largest k; `place` is that of the data set."""

    def of(run: Run) -> float:
        scores = list(run["pass@k"].values())[place]
        return scores["1" if k == "1" else max(scores, key=int)]

    on = " on four numbers" if place else ""
    return Measure(f"pass@{k}{on}", of)


def over(series: str, begin: float, end: float) -> Measure:
    """Return the mean of a series between two shares of the run."""

    def of(run: Run) -> float:
        values = run[series]
        return mean(values[int(begin * len(values)) : max(int(end * len(values)), 1)])

    name = series.replace("completion_tokens", "length")
    return Measure(f"{name} from {100 * begin:g} to {100 * end:g} % of the run", of)


def difference(measure: Measure, one: str, other: str) -> Effect:
    """Return a measure of one arm minus that of another."""
    rule = f"{measure.name}: `{one}` − `{other}`"
    return Effect((one, other), rule, lambda runs: measure.of(runs[one]) - measure.of(runs[other]))


def gain(measure: Measure, more: tuple[str, str], fewer: tuple[str, str]) -> Effect:
    """Return the difference of two arms minus that of two others."""
    first, second = difference(measure, *more), difference(measure, *fewer)
    rule = f"{measure.name}: (`{more[0]}` − `{more[1]}`) − (`{fewer[0]}` − `{fewer[1]}`)"
    return Effect((*more, *fewer), rule, lambda runs: first.of(runs) - second.of(runs))


def shift(what: str, arms: Iterable[str], level: Callable[[str, Run], float]) -> Effect:
    """Return how much larger the best of several arms' levels is for the largest k than for k = 1."""
    arms = tuple(arms)

    def best(measure: Measure, runs: Mapping[str, Run]) -> float:
        arm = max(arms, key=lambda name: measure.of(runs[name]))
        return level(arm, runs[arm])

    def of(runs: Mapping[str, Run]) -> float:
        return best(pass_at("max"), runs) - best(pass_at("1"), runs)

    return Effect(arms, f"{what} that is best for pass@max − that for pass@1", of)


# --- the claims -------------------------------------------------------------------------------------------------------

CONSTANTS = ("constant_lowest", "constant_low", "stable", "constant_high")
RATIOS = {"ratio_05": 0.05, "ratio_10": 0.10, "stable_anneal": 0.20, "ratio_40": 0.40}  # of the run
EARLY, LATE = ("reward", 0.1, 0.3), (0.95, 1.0)


def parallelogram(how: str, first: str, stable: str, late: str) -> Sequence[Claim]:
    """Return the claims of Fig. 2 for one way to hold entropy."""
    return [
        Claim("fig2", f"Early, annealing first has more reward than {how}.", difference(over(*EARLY), first, stable)),
        Claim("fig2", f"In the end, {how} surpasses annealing first.", difference(pass_at("1"), stable, first)),
        Claim("fig2", f"Annealing after {how} surpasses it.", difference(pass_at("1"), late, stable)),
        Claim("fig2", f"Annealing after {how} surpasses annealing first.", difference(pass_at("1"), late, first)),
    ]


CLAIMS = [
    *parallelogram("entropy held by the bonus", "anneal_first", "stable", "stable_anneal"),
    *parallelogram("entropy held by the KL penalty", "anneal_first", "kl_stable", "kl_stable_anneal"),
    *parallelogram("entropy held by the upper clip", "clip_anneal_first", "clip_stable", "clip_stable_anneal"),
    Claim("fig3", "Training raises pass@k of small k.", difference(pass_at("1"), "stable", "stable_early")),
    Claim("fig3", "Training lowers pass@k of large k.", difference(pass_at("max"), "stable", "stable_early"), -1),
    Claim("fig3", "Annealing raises pass@k of small k.", difference(pass_at("1"), "stable_anneal", "stable")),
    Claim("fig3", "Annealing lowers pass@k of large k.", difference(pass_at("max"), "stable_anneal", "stable"), -1),
    *[
        Claim("fig4a", f"Annealing helps after {length} training.", difference(pass_at("1"), late, stable))
        for length, late, stable in (
            ("short", "stable_anneal_early", "stable_early"),
            ("the longest", "stable_anneal_long", "stable_long"),
        )
    ],
    Claim(
        "fig5",
        "The best constant is higher for a larger k.",
        shift("constant", CONSTANTS, lambda arm, run: run["target"][0]),
    ),
    Claim("fig5", "Early, a cosine has less reward than a constant.", difference(over(*EARLY), "cosine", "stable"), -1),
    Claim("fig5", "In the end, a cosine surpasses a constant.", difference(pass_at("1"), "cosine", "stable")),
    Claim(
        "fig5", "The best anneal is shorter for a larger k.", shift("ratio", RATIOS, lambda arm, run: RATIOS[arm]), -1
    ),
    Claim(
        "fig6",
        "High-quality data help without an anneal.",
        difference(pass_at("1", 1), "quality_stable", "stable"),
    ),
    Claim(
        "fig6",
        "High-quality data with an anneal are better still.",
        difference(pass_at("1", 1), "quality_anneal", "quality_stable"),
    ),
    Claim(
        "fig6",
        "The anneal makes the gain of high-quality data larger.",
        gain(pass_at("1", 1), ("quality_anneal", "stable_anneal"), ("quality_stable", "stable")),
    ),
    Claim(
        "fig6",
        "More completions in the anneal phase help.",
        difference(pass_at("1"), "more_anneal", "stable_anneal"),
    ),
    Claim(
        "fig6",
        "The anneal makes the gain of more completions larger.",
        gain(pass_at("1"), ("more_anneal", "stable_anneal"), ("more_stable", "stable")),
    ),
    Claim(
        "fig7",
        "Completions become longer in the anneal phase.",
        difference(over("completion_tokens", *LATE), "stable_anneal", "stable"),
    ),
    Claim(
        "fig7",
        "Different constants have different lengths.",
        difference(over("completion_tokens", *LATE), "constant_high", "constant_lowest"),
        0,
    ),
]
OUT_OF_REACH = {  # by figure and claim: why
    ("Fig. 1", "An anneal of 40 rollouts lifts DAPO-32B on AIME2024 from 50.9 to 54.9."): (
        "A model of 32B parameters needs GPUs; `recipes/dapo32b_anneal.yaml` has the run."
    ),
    ("Fig. 4b, 4c", "Models of 3B, 7B and 32B benefit."): "Models of these sizes need GPUs.",
    ("Fig. 6c", "Longer completions in the anneal phase help."): (
        "The answers of both models end by themselves after some tokens, so a higher limit changes nothing."
    ),
    ("Fig. 8", "The same holds for OpenR1-Math and with DAPO's other features."): (
        "These data need a model that can solve their problems, which is too large for a CPU."
    ),
}
