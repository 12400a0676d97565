"""What the folder of a run holds, read for its page."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ..common.shown import shown
from ..hub.card import CARD_FILE, RECIPE_FILE, VERSIONS
from ..hub.secrets import without_tokens
from ..tracking.completions import COMPLETIONS_FILE, read_completions
from ..tracking.history import HISTORY_FILE, finite_or_none, read_history, read_loop
from ..tracking.outcome import Outcome, outcome_of
from ..tracking.setup import Setup, read_setup
from .evaluations import Curve, Evaluation, during_training, evaluations_in


@dataclass(frozen=True)
class Run:
    """A run, as its folder has it. A field is `None` or empty where the folder lacks it, as that of a killed run."""

    name: str
    records: list[dict[str, Any]]  # at least one
    loop: dict[str, Any] | None
    setup: Setup | None
    recipe: dict[str, Any] | None  # without tokens
    versions: str | None
    samples: list[dict[str, Any]]
    evaluations: list[Evaluation]
    curves: list[Curve]  # pass@k during training

    @cached_property
    def outcome(self) -> Outcome:
        """The outcome in numbers."""
        return outcome_of(self.records)

    @property
    def model(self) -> str | None:
        """The name of the model."""
        if self.setup is not None:
            return self.setup.model
        return (self.recipe or {}).get("model_name_or_path")

    @property
    def planned(self) -> int | None:
        """The number of rollouts that the run should have."""
        return None if self.setup is None else self.setup.geometry.rollouts

    @property
    def onset(self) -> int | None:
        """The rollout at which the anneal phase begins."""
        return next((record["rollout"] for record in self.records if record["stage"] == "anneal"), None)

    @property
    def bounds(self) -> dict[str, list[float]]:
        """The bounds of each actuator, by its class."""
        return (self.loop or {}).get("bounds", {})

    @property
    def events(self) -> list[tuple[int, str, str]]:
        """Rollout, kind and message of every event."""
        told = [(record["rollout"], event) for record in self.records for event in record["events"] or []]
        return [(rollout, event["kind"], event["message"]) for rollout, event in told]

    def has(self, *names: str) -> bool:
        """Return whether any record has a value for one of these fields."""
        return any(record.get(name) is not None for record in self.records for name in names)


def read_run(folder: str | Path) -> Run:
    """
    Read the folder of a run.

    Args:
        folder (`str` or `Path`):
            The `output_dir` of a run. Only the history is needed.

    Returns:
        `Run`: the run.

    Raises:
        ValueError: if there is no history, if it holds no rollout, or if a file is damaged.
    """
    folder = Path(folder)
    path = folder / HISTORY_FILE
    records = [finite_or_none(record) for record in read_history(path)] if path.exists() else []
    if not records:
        fault = "holds no rollout" if path.exists() else "does not exist"
        raise ValueError(f"{path} {fault}: give the output_dir of a run that has finished a rollout")
    setup, samples = read_setup(folder), folder / COMPLETIONS_FILE
    return Run(
        name=folder.absolute().name,
        records=records,
        loop=read_loop(folder),
        setup=setup,
        recipe=_read_recipe(folder / RECIPE_FILE),
        versions=_versions(folder / CARD_FILE) if setup is None else _listed(setup.versions),
        samples=read_completions(samples) if samples.exists() else [],
        evaluations=evaluations_in(folder),
        curves=during_training(folder, records),
    )


def _read_recipe(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        recipe = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())}): restore or remove the file") from error
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} must be a mapping of keys to values, got {shown(recipe)}: restore or remove the file")
    return without_tokens(recipe)


def _versions(card: Path) -> str | None:
    """Return the versions that the card of an earlier version's run lists."""
    text = card.read_text(errors="replace") if card.exists() else ""
    return text.rpartition(VERSIONS)[2].strip().removesuffix(".") if VERSIONS in text else None


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())
