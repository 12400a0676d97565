"""The Countdown lab: a verifiable task, a base model with the skill latent, and a reward, all in the package."""

from pathlib import Path

from .countdown import countdown_dataset, countdown_reward, is_solution


BASE_MODEL = str(Path(__file__).parent / "base")

__all__ = ["BASE_MODEL", "countdown_dataset", "countdown_reward", "is_solution"]
