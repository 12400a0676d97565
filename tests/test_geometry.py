from fractions import Fraction

import pytest

from es_trl.control.geometry import Geometry, updates_per_rollout


class Args:
    """The paper's geometry on 8 processes."""

    per_device_train_batch_size = 4
    gradient_accumulation_steps = 8
    steps_per_generation = 128
    num_iterations = 1
    num_generations = 8
    max_completion_length = 4096
    max_steps = 4800
    world_size = 8


def test_the_papers_geometry():
    geometry = Geometry.of(Args())
    assert geometry == Geometry(8, 512, 8, 4096, 4, 128, Fraction(16), 4096, 4800)
    assert geometry.rollouts == 300
    table = dict(line.rsplit("  ", 1) for line in geometry.table().splitlines())
    assert {name.strip(): value for name, value in table.items()} == {
        "processes": "8",
        "prompts per rollout": "512",
        "completions per prompt (num_generations)": "8",
        "completions per rollout": "4096",
        "longest completion, tokens": "4096",
        "micro-batch, completions per process": "4",
        "micro-batches per update": "8",
        "updates per rollout": "16",
        "updates in the run": "4800",
        "rollouts in the run": "300",
    }


@pytest.mark.parametrize(
    ("accumulation", "steps", "iterations", "updates"),
    [(1, 1, 1, 1), (4, 4, 1, 1), (4, 4, 2, 2), (4, 2, 1, Fraction(1, 2)), (2, 8, 3, 12)],
)
def test_updates_per_rollout(accumulation, steps, iterations, updates):
    args = Args()
    args.gradient_accumulation_steps, args.steps_per_generation, args.num_iterations = accumulation, steps, iterations
    assert updates_per_rollout(args) == updates


def test_length_of_a_run_in_epochs():
    args = Args()
    args.max_steps = -1
    geometry = Geometry.of(args)
    assert geometry.rollouts is None and "set by the dataset" in geometry.table()
    # 17,000 prompts fill 33 rollouts of 512, 528 updates an epoch; the last rollout may be used in part
    assert geometry.with_prompts(17_000, 2.0).max_steps == 1056
    assert geometry.with_prompts(17_000, 1.01).rollouts == 34


@pytest.mark.parametrize(("max_steps", "rollouts"), [(1, 1), (16, 1), (17, 2), (32, 2)])
def test_a_rollout_begun_is_a_rollout(max_steps, rollouts):
    assert Geometry.of(Args(), max_steps=max_steps).rollouts == rollouts
