"""The arms of the reproduction: which there are, their recipes, and what their runs would cost."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from es_trl.control.geometry import Geometry
from es_trl.curriculum.planned import PlannedStage, stage_of
from es_trl.planning.plan import describe_recipe
from es_trl.recipe import RecipeParser


HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = ROOT / "results" / "reproduction"
MODELS = ("lab", "smollm")
KEY = ("arm", "seed", "recipe")  # of a line of the data
_NOT_TRAINED = ("output_dir", "seed", "env", "report_to", "logging_", "save_")  # how keys begin that change no run
FIGURES: dict[str, list[str]] = yaml.safe_load((HERE / "figures.yaml").read_text())


@dataclass(frozen=True)
class Model:
    """
    A model on which the paper's claims are tried, as its YAML file has it.

    Args:
        name (`str`):
            `lab` or `smollm`.
        recipe (`str`):
            The recipe that its arms change.
        every (`dict[str, Any]`):
            Keys of the recipe that are changed in every arm.
        evaluation (`dict[str, Any]`):
            `data` (names by titles), `problems` (number per name), `n` (completions per problem) and `k`.
        seconds (`dict[str, float]`):
            Time of a completion on one quiet core: `sampled`, `trained` (per pass) and `evaluated`.
    """

    name: str
    recipe: str
    every: dict[str, Any]
    evaluation: dict[str, Any]
    seconds: dict[str, float]

    @classmethod
    def of(cls, name: str) -> "Model":
        """Return the model of a name, one of `MODELS`."""
        return cls(name, **yaml.safe_load((HERE / f"{name}.yaml").read_text()))

    @property
    def data(self) -> Path:
        """The file with one line per finished run."""
        return RESULTS / f"{self.name}.jsonl"

    @cached_property
    def arms(self) -> list[str]:
        """The names of its arms, in the order of the figures."""
        return [arm for arm in dict.fromkeys(sum(FIGURES.values(), [])) if self.file_of(arm).is_file()]

    def file_of(self, arm: str) -> Path:
        """Return the YAML file of an arm."""
        return HERE / "arms" / self.name / f"{arm}.yaml"

    def arms_of(self, figures: list[str]) -> list[str]:
        """Return its arms of some figures, of all for an empty list; raise a `ValueError` for an unknown figure."""
        if unknown := [figure for figure in figures if figure not in FIGURES]:
            raise ValueError(f"`FIGURE` must be one of {', '.join(FIGURES)}, got {unknown[0]!r}: set one of these")
        wanted = set(sum((FIGURES[figure] for figure in figures or FIGURES), []))
        return [arm for arm in self.arms if arm in wanted]

    def recipe_of(self, arm: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the whole recipe of an arm; a key that the arm sets to null is absent. `changes` win."""
        texts = [(ROOT / self.recipe).read_text(), self.file_of(arm).read_text()]
        recipe, own = [yaml.safe_load(text) for text in texts]
        merged = {**recipe, **self.every, **own, **(changes or {})}
        return {key: value for key, value in merged.items() if value is not None}

    def switch_of(self, arm: str, rollouts: int) -> int | None:
        """Return the rollout of an arm's switch in a run of so many rollouts, or `None` if it has no curriculum."""
        recipe = self.recipe_of(arm)
        if "curriculum" not in recipe:
            return None
        start = recipe["curriculum"][0]["start"]
        share = 1.0 - recipe["entropy_schedule"]["ratio"] if start == "onset" else start
        return math.ceil(share * (rollouts - 1) - 1e-9)  # the first rollout whose progress is the share

    def digest_of(self, arm: str) -> str:
        """Return 8 characters for what its runs do, so that the data of another recipe or evaluation do not count."""
        recipe = {key: value for key, value in self.recipe_of(arm).items() if not key.startswith(_NOT_TRAINED)}
        text = json.dumps([recipe, self.evaluation], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def is_trained(recipe: dict[str, Any]) -> bool:
    """Return whether an arm trains; the base model does not."""
    return recipe["max_steps"] > 0


def check(path: Path) -> tuple[Geometry, list[PlannedStage]]:
    """Return the sizes and the stages of a recipe; raise a `ValueError` where a run would refuse it."""
    _, geometry, curriculum = describe_recipe(RecipeParser().parse(["--config", str(path)]))
    return geometry, list(curriculum.prompts.planned) if curriculum else []


def core_seconds(model: Model, recipe: dict[str, Any], path: Path) -> float:
    """Return the projected time of a run on one quiet core; `path` is a file with `recipe`."""
    own = model.evaluation
    seconds = model.seconds["evaluated"] * own["problems"] * own["n"] * len(own["data"])
    if not is_trained(recipe):
        return seconds
    geometry, stages = check(path)
    each = model.seconds["sampled"] + model.seconds["trained"] * recipe.get("num_iterations", 1)
    completions = sum(
        stage_of(stages, rollout).completions if stages else geometry.completions
        for rollout in range(geometry.rollouts)
    )
    return seconds + each * completions
