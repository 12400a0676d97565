"""What a run is made of: `es_setup.json` has its model, rewards, sizes and versions, for people and pages."""

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from ..common.writing import write_atomically
from ..control.geometry import Geometry


SETUP_FILE = "es_setup.json"


@dataclass(frozen=True)
class Setup:
    """
    The facts of a run that neither its history nor its recipe has.

    Args:
        model (`str`):
            Name of the model that was trained; of a local folder, only its last two parts.
        rewards (`list[str]`):
            Names of the reward functions.
        geometry (`Geometry`):
            The sizes of a rollout, at the start of the run.
        versions (`dict[str, str]`):
            Version of each package, by its name.
        device (`str`):
            Name of the device that trained.
        started (`str`):
            Date and time of the start, ISO 8601. A resume keeps that of the run that it continues.
    """

    model: str
    rewards: list[str]
    geometry: Geometry
    versions: dict[str, str]
    device: str
    started: str


def write_setup(run_dir: str | Path, setup: Setup) -> None:
    """Write `es_setup.json` into the folder of a run."""
    content = asdict(setup)
    content["geometry"]["updates"] = str(setup.geometry.updates)
    write_atomically(Path(run_dir) / SETUP_FILE, json.dumps(content, indent=2) + "\n")


def read_setup(run_dir: str | Path) -> Setup | None:
    """Return what [`write_setup`] wrote; `None` where a run has no such file, as those of earlier versions."""
    path = Path(run_dir) / SETUP_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        geometry = Geometry(**{**content["geometry"], "updates": Fraction(content["geometry"]["updates"])})
        return Setup(**{**content, "geometry": geometry})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore the file, or remove it") from error
