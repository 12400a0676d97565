"""What an evaluation does, the defaults that a run's recipe gives it, and what two starts must have in common."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trl import GRPOConfig

from ..data.arguments import DataArguments
from ..hub.card import RECIPE_FILE
from ..recipe import read_yaml
from ..rewards.named import RewardArguments


BACKENDS = ("transformers", "vllm")
AT_ONCE = {"transformers": 128, "vllm": 4096}  # completions per unit
LAB_SPLIT = "train[:500]"  # of the 20,000 prompts that the lab generates
_OF_RECIPE = ("prompt_template", "prompt_column", "answer_column", "prompt_suffix", "prompt_format")
_MAX_NEW_TOKENS = GRPOConfig.__dataclass_fields__["max_completion_length"].default


@dataclass(frozen=True)
class EvaluationSettings:
    """
    What an evaluation does.

    Args:
        model (`str`):
            A folder, a name on the Hub, a checkpoint, or the folder of an adapter.
        data (`DataArguments`):
            Where the problems come from.
        reward (`RewardArguments`):
            The reward functions. A completion is right if each of them gives more than 0.
        n (`int`, *optional*, defaults to `256`):
            Completions per problem.
        ks (`tuple[int, ...]`, *optional*):
            Values of k, from 1 to `n`. By default the powers of two up to `n`, and `n`.
        temperature (`float`, *optional*, defaults to `1.0`), top_p (`float`, *optional*, defaults to `1.0`):
            Of the sampling. A temperature of 0 takes the likeliest token.
        max_new_tokens (`int`, *optional*, defaults to `256`):
            Largest number of tokens per completion.
        batch_size (`int`, *optional*, defaults to `128`):
            Completions that are sampled at once.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the sampling.
        backend (`str`, *optional*, defaults to `"transformers"`):
            `transformers` or `vllm`.
        chat_template_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the chat template.

    Raises:
        ValueError: for a value out of its range, or without a reward.
    """

    model: str
    data: DataArguments
    reward: RewardArguments
    n: int = 256
    ks: tuple[int, ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = _MAX_NEW_TOKENS
    batch_size: int = AT_ONCE["transformers"]
    seed: int = 0
    backend: str = "transformers"
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("n", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}: set a larger one")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"`temperature` must be a number >= 0, got {self.temperature}: set for example 1.0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` must be above 0 and at most 1, got {self.top_p}: set for example 1.0")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"`seed` must be from 0 to 2**63 - 1, got {self.seed}: set for example 0")
        if self.backend not in BACKENDS:
            raise ValueError(f"`backend` must be {' or '.join(BACKENDS)}, got {self.backend!r}: set one of these")
        if not self.reward.names:
            raise ValueError("`reward` must name a function, got none: set math or my_file.py:my_reward")
        for k in self.ks:
            if not 1 <= k <= self.n:
                raise ValueError(f"`k` must be from 1 to `n`, which is {self.n}, got {k}: remove it, or set a larger n")

    @property
    def grid(self) -> list[int]:
        """The values of k, in ascending order."""
        return sorted(set(self.ks or [2**power for power in range(self.n.bit_length())] + [self.n]))

    @property
    def data_name(self) -> str:
        """The name of the data, with its split where that is not `train`."""
        split = self.data.dataset_split
        return str(self.data.dataset_name) + (f":{split}" if split != "train" else "")

    def of_samples(self) -> dict[str, Any]:
        """Return what determines the samples beside the model's weights, the prompts and `n`."""
        names = ("temperature", "top_p", "max_new_tokens", "batch_size", "seed", "backend")
        return {"model": self.model, "data": self.data_name, "rewards": self.reward.names} | {
            name: getattr(self, name) for name in names
        }


def recipe_of(model: str) -> dict[str, Any]:
    """Return the recipe of the run whose folder a model is, or lies in; empty where there is none."""
    folder = Path(model).absolute()
    if not folder.is_dir():
        return {}
    path = next((each / RECIPE_FILE for each in (folder, *folder.parents) if (each / RECIPE_FILE).is_file()), None)
    return read_yaml(path) if path is not None else {}


def with_defaults(given: dict[str, Any], recipe: dict[str, Any]) -> EvaluationSettings:
    """
    Return the settings of what was given, and of a run's recipe for the rest.

    Args:
        given (`dict[str, Any]`):
            Fields of [`EvaluationSettings`], [`~data.DataArguments`] and [`~rewards.named.RewardArguments`] by name,
            without those that were not given.
        recipe (`dict[str, Any]`):
            As [`recipe_of`] returns it.
    """
    reward = RewardArguments(given.get("reward", recipe.get("reward")))
    of_recipe = {name: recipe[name] for name in _OF_RECIPE if recipe.get(name) is not None}
    own = {name: given[name] for name in DataArguments.__dataclass_fields__ if name in given}
    if own.get("dataset_name") is None and "countdown" in reward.names:
        name = str(recipe.get("dataset_name"))
        own["dataset_name"] = name if name.startswith("countdown:") else "countdown:3"
    if not reward.names:
        raise ValueError("`reward` must be set where no recipe of a run sets it: set math or my_file.py:my_reward")
    if own.get("dataset_name") is None:
        raise ValueError("`--data` must be set: name a dataset of the Hub, or a .json, .jsonl or .parquet file")
    if own["dataset_name"].startswith("countdown:"):
        own.setdefault("dataset_split", LAB_SPLIT)
    # a given template takes the place of the recipe's column, and the other way round
    data = DataArguments(**of_recipe, datasets={"given": own}).named()["given"]
    rest = {key: given[key] for key in EvaluationSettings.__dataclass_fields__ if key in given and key != "reward"}
    if "max_completion_length" in recipe:
        rest.setdefault("max_new_tokens", recipe["max_completion_length"])
    rest.setdefault("batch_size", AT_ONCE.get(rest.get("backend", "transformers"), 1))
    rest.setdefault("chat_template_kwargs", recipe.get("chat_template_kwargs") or {})
    return EvaluationSettings(data=data, reward=reward, **rest)
