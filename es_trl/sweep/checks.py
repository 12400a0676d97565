"""The checks of a sweep before its first run: what one run would refuse, no run trains."""

from pathlib import Path
from typing import Any

from ..evaluation.problems import load_problems
from ..evaluation.settings import EvaluationSettings, with_defaults
from ..planning.plan import describe_recipe
from ..recipe import Recipe, RecipeParser
from .grid import Point, points_of
from .record import Settings


def check_points(settings: Settings, recipe: Path) -> None:
    """Raise unless every point is a recipe that trains and can be evaluated, and no two points are the same."""
    seen: list[tuple[Any, Point]] = []
    evaluations: list[EvaluationSettings] = []
    for point in points_of(settings.grid):
        try:
            parsed = RecipeParser().parse(["--config", str(recipe), *settings.options, *point.options])
            _check_recipe(parsed)
            evaluation = _evaluation_of(parsed, settings)
            if not any((each.data, each.reward) == (evaluation.data, evaluation.reward) for each in evaluations):
                load_problems(evaluation.data, evaluation.reward)
            evaluations.append(evaluation)
        except ValueError as error:
            raise ValueError(f"nothing is trained, because {point} is refused: {error}") from error
        values = (parsed.training.to_dict(), parsed.data, parsed.model, parsed.reward)
        for other_values, other in seen:
            if values == other_values:
                raise ValueError(f"--grid has the same run twice, as {other} and as {point}: leave one out")
        seen.append((values, point))


def _check_recipe(recipe: Recipe) -> None:
    if recipe.task is None:
        raise ValueError("`reward` must be set: set math, countdown or my_file.py:my_reward")
    if recipe.training.push_to_hub:
        raise ValueError("`push_to_hub` is true, but the runs would push to one repository: set it to false")
    describe_recipe(recipe)


def _evaluation_of(recipe: Recipe, settings: Settings) -> EvaluationSettings:
    """Return what `eval` will do in the folder of the recipe's run."""
    given: dict[str, Any] = {"n": settings.n, "ks": tuple(settings.k)}
    given |= {"dataset_name": settings.data} if settings.data else {}
    given |= {"dataset_split": settings.split} if settings.split else {}
    return with_defaults({"model": str(recipe.model.model_name_or_path), **given}, recipe.given)
