"""The problems of an evaluation, and their prompts as token ids."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..data.arguments import DataArguments
from ..data.tasks import EVALUATION_SEED, Task, check_rewards_fit
from ..rewards.named import RewardArguments


Reward = Callable[..., list[float]]


@dataclass(frozen=True)
class Problems:
    """
    Problems with the columns that their rewards read.

    Args:
        prompts (`list`):
            Text, or a chat as a list of messages.
        columns (`dict[str, list]`):
            One value per problem, by name of the column.
    """

    prompts: list[Any]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.prompts)

    def as_lines(self) -> str:
        """Return one line of JSON per problem, with `problem` (its number), `prompt` and the columns."""
        rows = ({name: values[row] for name, values in self.columns.items()} for row in range(len(self)))
        lines = [{"problem": row, "prompt": self.prompts[row], **rest} for row, rest in enumerate(rows)]
        return "".join(json.dumps(line, default=str) + "\n" for line in lines)


def load_problems(data: DataArguments, reward: RewardArguments) -> tuple[Problems, list[Reward]]:
    """Return the problems that the data name, made as in training, and the reward functions that judge them."""
    task = Task(reward.names, EVALUATION_SEED)
    rewards, dataset = task.rewards(), task.load(data)
    check_rewards_fit(rewards, dataset.column_names)
    columns = {name: dataset[name][:] for name in dataset.column_names}
    return Problems(columns.pop("prompt"), columns), rewards


def token_ids(
    prompts: list[Any], tokenizer: PreTrainedTokenizerBase, chat_template_kwargs: dict[str, Any]
) -> list[list[int]]:
    """Return the token ids of prompts as TRL makes them: a chat by the chat template, a text as it is."""
    if isinstance(prompts[0], str):
        return tokenizer(text=prompts)["input_ids"]
    if not tokenizer.chat_template:
        raise ValueError(
            "the prompts are chats but the model's tokenizer has no chat template: set --prompt_format text, or take a "
            "model with a chat template"
        )
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, **chat_template_kwargs}
    return tokenizer.apply_chat_template(conversation=prompts, **options)["input_ids"]


def code_of(reward: RewardArguments) -> str:
    """Return the text of the files that reward functions of one's own are in, as `my_file.py:my_reward` names them."""
    files = [Path(name.rpartition(":")[0]).expanduser() for name in reward.names]
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files if path.suffix == ".py")


def digest(text: str) -> str:
    """Return the beginning of the SHA-256 of a text, 16 characters."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
