"""The page docs/reproduction.md and its figures, made from the committed data.

python experiments/report.py   # writes the page, and the figures into results/reproduction
"""

import sys
from collections import Counter
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from arms import FIGURES, HERE, KEY, MODELS, RESULTS, ROOT, Model
from arms_table import arms_table
from claims import (
    CLAIMS,
    HELD,
    LEAST,
    NOT_HELD,
    NOT_MEASURABLE,
    NOT_MEASURED,
    OUT_OF_REACH,
    Run,
    Runs,
    Verdict,
    judge,
)
from control_report import load
from drawing import draw
from following import MOST, SETTLING, follows
from seeds import LEVEL


PAGE = ROOT / "docs" / "reproduction.md"
TITLES = {
    "fig2": "annealing first, stable entropy, and an anneal after it",
    "fig3": "pass@k before and after the anneal",
    "fig4a": "longer training",
    "fig5": "constants, cosine and anneal ratios",
    "fig6": "changes in the anneal phase",
    "fig7": "lengths",
}


def runs_of(model: Model, folder: Path) -> tuple[Runs, int]:
    """Return a model's runs in a folder of data, by arm and seed, and the number of those of earlier recipes."""
    runs: dict[str, dict] = {arm: {} for arm in model.arms}
    digests = {arm: model.digest_of(arm) for arm in model.arms}
    found = load(folder / model.data.name, KEY)
    for (arm, seed, digest), run in found.items():
        if digests.get(arm) == digest:
            runs[arm][seed] = {**run, "switch": model.switch_of(arm, run["rollouts"])}
    return runs, len(found) - sum(map(len, runs.values()))


def verdicts_of(model: Model, runs: Runs) -> list[Verdict]:
    """Return the verdicts on the claims whose arms a model has."""
    return [judge(claim, runs) for claim in CLAIMS if set(claim.effect.arms) <= set(model.arms)]


def report(folder: Path) -> str:
    """Return the text of the page from the data in a folder, and draw the figures there."""
    models = [Model.of(name) for name in MODELS]
    words = {"held": HELD, "not_held": NOT_HELD, "not_measured": NOT_MEASURED, "not_measurable": NOT_MEASURABLE}
    values = {**words, "level": round(100 * LEVEL), "most": round(MOST), "settling": SETTLING}
    sections = {model.name: section(model, folder) for model in models}
    return (HERE / "page.md").read_text().format(**values, least=LEAST, beyond=beyond(), **sections)


def beyond() -> str:
    """Return the claims that no run here can measure, as a table."""
    rows = [f"| {figure} | {text} | {why} | **{NOT_MEASURABLE}** |" for (figure, text), why in OUT_OF_REACH.items()]
    return "\n".join(["| figure | claim | why | verdict |", "|---|---|---|---|", *rows])


def section(model: Model, folder: Path) -> str:
    """Return verdicts and figures of a model from the data in `folder`, and draw the figures there."""
    runs, others = runs_of(model, folder)
    verdicts = verdicts_of(model, runs)
    count = Counter(verdict.word for verdict in verdicts)
    words = (HELD, NOT_HELD, NOT_MEASURED, NOT_MEASURABLE)
    counted = ", ".join(f"{count[word]} {word}" for word in words if count[word])
    rules = len({verdict.claim.rule for verdict in verdicts})
    lines = [about(model, runs, others), f"\n**{len(verdicts)} claims with {rules} different rules: {counted}.**\n"]
    for figure in dict.fromkeys(verdict.claim.figure for verdict in verdicts):
        lines.append(f"### Fig. {figure.removeprefix('fig')}: {TITLES[figure]}\n")
        lines.append(table([verdict for verdict in verdicts if verdict.claim.figure == figure]))
        image = folder / f"{model.name}_{figure}.png"
        arms = [arm for arm in FIGURES[figure] if arm in model.arms]
        if draw(figure, arms, runs, image):
            lines.append(f"![{TITLES[figure]}](../results/reproduction/{image.name})\n")
    if arms := arms_table(model.arms, runs):
        lines.append("### The arms\n\nErrors are over the rollouts that count.\n")
        lines.append(arms)
    return "\n".join(lines).rstrip()


def about(model: Model, runs: Runs, others: int) -> str:
    """Return how runs are evaluated, how many there are, what they cost, and which do not count."""
    own = model.evaluation
    data = " and ".join(own["data"])
    text = f"Evaluated on {own['problems']} held-out prompts ({data}) with {own['n']} completions each."
    if others:
        text += f" Runs of earlier recipes in the data, which do not count: {others}."
    found = [run for seeds in runs.values() for run in seeds.values()]
    if not found:
        return text
    broke = names_of([run for run in found if run["failure"]])
    strayed = names_of([run for run in found if not run["failure"] and not follows(run)])
    for machine in dict.fromkeys(machine_of(run) for run in found):
        own = [run["hours"] for run in found if machine_of(run) == machine]
        text += f" {len(own)} run{'s' * (len(own) > 1)} of {sum(own):.1f} hours in all: {machine}."
    text += f" These broke and do not count: {broke}." if broke else ""
    return text + (f" These did not follow their target and do not count: {strayed}." if strayed else "")


def names_of(runs: list[Run]) -> str:
    """Return the names of runs, in the order of the alphabet."""
    return ", ".join(sorted(f"`{run['arm']}` (seed {run['seed']})" for run in runs))


def machine_of(run: Run) -> str:
    """Return the hardware and the versions with which a run was made."""
    return ", ".join([run["hardware"], *(f"{name} {number}" for name, number in run["versions"].items())])


def table(verdicts: list[Verdict]) -> str:
    """Return claims, rules, effects and verdicts as a table."""
    lines = ["| claim | held if | effect and interval | seeds | verdict |", "|---|---|---|---|---|"]
    for each in verdicts:
        own = each.interval
        seen = "-" if own is None else f"{own.value:+.3f} [{own.low:+.3f}, {own.high:+.3f}]"
        lines.append(f"| {each.claim.text} | {each.claim.rule} | {seen} | {len(each.effects)} | **{each.word}** |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page and the figures."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(report(RESULTS))
    print(PAGE)


if __name__ == "__main__":
    main()
