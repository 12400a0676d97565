"""What runs leave, and how far they agree: in gradients, weights and logged metrics."""

import math
from dataclasses import dataclass
from typing import Any

import torch


SPEEDS = ("runtime", "samples_per_second", "steps_per_second")
UNEQUAL_FIELDS = {"step_time", "es/seconds", *(f"{kind}_{name}" for kind in ("train", "eval") for name in SPEEDS)}


@dataclass
class Run:
    """What a run leaves: a gradient per update, the weights before and after, and the logged metrics."""

    gradients: list[dict[str, torch.Tensor]]
    before: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]
    logged: list[dict[str, Any]]


def relative_error(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> float:
    """Return the norm of the difference over the norm of `expected`; a tensor that one lacks is 0."""
    nothing, difference, size = torch.zeros(()), 0.0, 0.0
    for name in sorted(expected.keys() | found.keys()):
        first, second = (each.get(name, nothing).double() for each in (expected, found))
        difference, size = difference + (first - second).square().sum().item(), size + first.square().sum().item()
    return 0.0 if difference == 0.0 else math.sqrt(difference / size) if size > 0.0 else math.inf


def gradient_errors(expected: Run, found: Run) -> list[float]:
    """Return the relative error of each update's gradient."""
    return [relative_error(*each) for each in zip(expected.gradients, found.gradients, strict=True)]


def weight_error(expected: Run, found: Run) -> float:
    """Return the error of the weights, relative to how far training moved them."""
    assert relative_error(expected.before, found.before) == 0.0
    moved = [
        {name: run.weights[name].double() - value for name, value in run.before.items()} for run in (expected, found)
    ]
    return relative_error(*moved)


def unequal_metrics(expected: Run, found: Run, relative: float = 1e-4, absolute: float = 1e-6) -> list[str]:
    """
    Return a line for each logged value that differs; times are left out, and fields that only one trainer has.

    Losses may differ five times as much as `absolute`, because their terms cancel.
    """
    has_own = any(name.startswith("es/") for record in expected.logged for name in record)
    assert len(expected.logged) == len(found.logged)
    lines = []
    for row, (first, second) in enumerate(zip(expected.logged, found.logged, strict=True)):
        for name in sorted((first.keys() | second.keys()) - UNEQUAL_FIELDS):
            if name.startswith("es/") and not has_own:
                continue
            values = first.get(name, "missing"), second.get(name, "missing")
            margin = 5 * absolute if name.endswith("loss") else absolute
            if not _same(*values, relative, margin):
                lines.append(f"row {row}, {name}: {values[0]} and {values[1]}")
    return lines


def _same(first: Any, second: Any, relative: float, absolute: float) -> bool:
    if not (isinstance(first, int | float) and isinstance(second, int | float)):
        return first == second
    both_nan = math.isnan(first) and math.isnan(second)
    return both_nan or math.isclose(first, second, rel_tol=relative, abs_tol=absolute)


def assert_equal_runs(expected: Run, found: Run, tolerance: float = 1e-5) -> None:
    """Fail unless gradients and weights agree within the relative `tolerance`, and all metrics agree."""
    assert len(expected.gradients) == len(found.gradients) > 0
    assert max(gradient_errors(expected, found)) < tolerance, gradient_errors(expected, found)
    assert weight_error(expected, found) < tolerance, weight_error(expected, found)
    assert (lines := unequal_metrics(expected, found)) == [], lines


def assert_identical_runs(expected: Run, found: Run) -> None:
    """Fail unless two runs agree bit for bit."""
    for first, second in (*zip(expected.gradients, found.gradients, strict=True), (expected.weights, found.weights)):
        assert first.keys() == second.keys()
        assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    assert unequal_metrics(expected, found, 0.0, 0.0) == []
