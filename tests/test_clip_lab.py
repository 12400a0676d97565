import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch


ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import clip_lab  # noqa: E402
import clip_lab_report  # noqa: E402
import clip_probe  # noqa: E402
from lab_run import train_on_lab  # noqa: E402

from es_trl.control.geometry import Geometry  # noqa: E402
from es_trl.lab.countdown import is_solution  # noqa: E402
from es_trl.lab.make_base import draw_line  # noqa: E402
from es_trl.recipe import RecipeParser  # noqa: E402


def test_summary_and_figure_are_made_from_their_data(tmp_path):
    runs = list(clip_lab.load(clip_lab.RESULTS / "runs.jsonl", clip_lab.KEY).values())
    text = clip_lab_report.report(runs, list(clip_lab.METHODS), tmp_path)
    assert text == (clip_lab.RESULTS / "summary.md").read_text()
    assert (tmp_path / "tracking.png").stat().st_size > 10_000


def test_the_probes_table_is_made_from_its_data():
    assert clip_probe.report() == (clip_probe.RESULTS / "probe.md").read_text()


def test_more_control_of_the_reversed_clip_is_a_narrower_clip():
    actuator = clip_lab.ReversedClipHigh()
    widths = [actuator.settings(control, None)["epsilon_high"] for control in (actuator.low, 0.0, 1.0, actuator.high)]
    assert widths == pytest.approx([3.955, 0.28, 0.028, 0.00993], rel=1e-3)


def made_run(method, schedule, entropy, controlled=True):
    series = {name: [0.02] * 30 for name in ("entropy_se", "reward", "clip_high_fraction")}
    control = [0.3 if controlled else None] * 30
    return {"method": method, "schedule": schedule, "seed": 0, "failure": None, "entropy": [entropy] * 30} | (
        series | {"control": control}
    )


def test_errors_by_hand_and_runs_without_control_count_for_every_schedule():
    free, held = made_run("free", "constant", 0.30, controlled=False), made_run("held", "constant", 0.37)
    assert clip_lab_report.error(free, "constant") == pytest.approx(0.08)
    assert clip_lab_report.error({**free, "failure": "broken"}, "constant") == float("inf")
    assert clip_lab_report.runs_of([free, held], "free", "cosine") == [free]
    assert clip_lab_report.runs_of([free, held], "held", "cosine") == []


def test_passes_do_not_shorten_a_run():
    changes = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "num_iterations": 3}
    trainer, failure = train_on_lab(2, 0, changes, [])
    assert failure is None and [record["rollout"] for record in trainer.history.records] == [0, 1]
    assert trainer.state.global_step == 12


def test_the_recipe_has_the_setting_of_the_benchmark():
    recipe = RecipeParser().parse(["--config", str(ROOT / "recipes" / "countdown_clip.yaml")])
    args = recipe.training
    for name, value in clip_lab.GEOMETRY.items():
        assert getattr(args, name) == value, name
    assert Geometry.of(args).rollouts == clip_lab.ROLLOUTS


def test_the_base_of_sums_writes_sums_whatever_the_target():
    lines = [draw_line(random.Random(seed), sums=True) for seed in range(400)]
    sums = [set(answer) <= set("0123456789+") for _, answer in lines]
    assert 0.8 < sum(sums) / 400 < 0.97
    for (prompt, answer), is_sum in zip(lines, sums, strict=True):
        numbers, _, target = prompt.rstrip(":").partition("=")
        assert is_sum or is_solution(answer, [int(number) for number in numbers.split()], int(target))


def rollout_of(advantages):
    """One-token completions of a model that returns its own logits, all of the first token."""
    count = len(advantages)
    ids, ones = torch.zeros((count, 2), dtype=torch.long), torch.ones((count, 2), dtype=torch.long)
    return clip_probe.Rollout(ids, ones, torch.ones((count, 1)), torch.tensor(advantages), 0.5, 1.0)


class Bandit(torch.nn.Module):
    """A model with the same four logits everywhere."""

    def __init__(self):
        super().__init__()
        self.values = torch.nn.Parameter(torch.zeros(4))

    def forward(self, ids, attention_mask):
        return SimpleNamespace(logits=self.values.expand(*ids.shape, 4))


def ratio_after(advantage, bounds):
    model, rollout = Bandit(), rollout_of([advantage] * 8)
    with torch.no_grad():
        old = rollout.logps(rollout.logits(model))
    clip_probe.train(model, rollout, old, clip_probe.Case(0.1, passes=4), bounds)
    return (rollout.logps(rollout.logits(model)) - old).exp().mean().item()


def test_each_clip_slows_its_own_side_alone():
    # the momentum of AdamW carries a ratio beyond its bound, so the bounds are compared and not met
    rise = {bounds: ratio_after(1.0, bounds) for bounds in ((0.2, 0.0), (0.9, 0.0), (0.2, 9.0))}
    assert 1.0 < rise[0.2, 0.0] < 0.8 * rise[0.2, 9.0] and rise[0.2, 0.0] == rise[0.9, 0.0]
    fall = {bounds: ratio_after(-1.0, bounds) for bounds in ((0.05, 0.0), (0.05, 9.0), (0.9, 0.0))}
    assert 1.0 > fall[0.05, 0.0] > 1.25 * fall[0.9, 0.0] and fall[0.05, 0.0] == fall[0.05, 9.0]
