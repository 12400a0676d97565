"""A rollout that is generated once: its tokens and rewards, and what a model says about its tokens."""

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from es_trl.data.arguments import DataArguments
from es_trl.data.tasks import Task
from es_trl.lab import BASE_MODEL
from es_trl.micro_batches.prefill import prompts_once
from es_trl.rewards.named import load_reward
from es_trl.trainer.model_folder import read_config


@dataclass(frozen=True)
class Subject:
    """
    A model and its prompts.

    Args:
        model (`PreTrainedModel`), tokenizer (`PreTrainedTokenizerBase`):
            The model in fp32, and its tokenizer, which pads on the left.
        dataset (`Dataset`), reward (`str`):
            The prompts, and the name of their reward function.
        prompts (`int`), completions (`int`), longest (`int`):
            Prompts per rollout, completions per prompt, and most tokens per completion.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dataset: Dataset
    reward: str
    prompts: int
    completions: int
    longest: int


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Add the options that [`subject_of`] reads; their defaults are the Countdown lab."""
    parser.add_argument("name", nargs="?", default="lab", help="name of the model in the data")
    parser.add_argument("--model", default=BASE_MODEL, help="folder of the model")
    parser.add_argument("--dataset_name", help="file of prompts; without one, those of the lab")
    parser.add_argument("--prompt_template", type=lambda text: text.replace("\\n", "\n"), help="as in a recipe")
    parser.add_argument("--answer_column", default="solution")
    parser.add_argument("--prompt_format", default="text", choices=("text", "chat"))
    parser.add_argument("--reward", default="countdown", help="reward function, as in a recipe")
    for option, default in ("--prompts", 32), ("--completions", 8), ("--longest", 16):
        parser.add_argument(option, type=int, default=default)


def check_subject(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with an error of the parser if the data would have one model under the name of another."""
    if (options.name == "lab") != (options.model == BASE_MODEL):
        parser.error(f"`--model` must be set for any name but lab, and only then, got {options.name}, {options.model}")


def subject_of(options: argparse.Namespace) -> Subject:
    """Return the subject that the options of a command name."""
    read_config("the model", options.model, None, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token  # as TRL does
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    names = ("dataset_name", "prompt_template", "answer_column", "prompt_format")
    data = DataArguments(**{name: getattr(options, name) for name in names})
    dataset = Task([options.reward], seed=77).load(data).shuffle(seed=0)
    sizes = (options.prompts, options.completions, options.longest)
    return Subject(model.eval(), tokenizer, dataset, options.reward, *sizes)


@dataclass(frozen=True)
class StoredRollout:
    """
    Completions of some prompts. All lists have one row per completion, and the rows of a prompt follow each other.

    Args:
        prompts (`list[list[int]]`), completions (`list[list[int]]`):
            Their tokens.
        rewards (`list[float]`):
            Their rewards.
        per_prompt (`int`):
            Completions per prompt.
    """

    prompts: list[list[int]]
    completions: list[list[int]]
    rewards: list[float]
    per_prompt: int

    @property
    def advantages(self) -> torch.Tensor:
        """The rewards, normalized within their prompt as in GRPO, `(completions,)`."""
        rewards = torch.tensor(self.rewards).view(-1, self.per_prompt)
        return ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Return the rollout as TRL's `rollout_func` does, whatever the prompts are."""
        return {"prompt_ids": self.prompts, "completion_ids": self.completions, "logprobs": None}

    def rewarded(self, completions: list[Any], **columns: Any) -> list[float]:
        """Return the stored rewards, as a reward function that TRL asks about the whole rollout."""
        assert len(completions) == len(self.rewards)
        return self.rewards


@torch.no_grad()
def generate(subject: Subject, seed: int, model: PreTrainedModel | None = None) -> StoredRollout:
    """Return the rollout of a seed, which draws prompts and completions; `model` replaces the subject's own."""
    model, tokenizer, n = model or subject.model, subject.tokenizer, subject.completions
    rows = [(seed * subject.prompts + place) % len(subject.dataset) for place in range(subject.prompts)]
    columns = subject.dataset[rows]
    columns = {name: [value for value in values for _ in range(n)] for name, values in columns.items()}
    texts = [prompt if isinstance(prompt, str) else _chat(tokenizer, prompt) for prompt in columns["prompt"]]
    prompts = tokenizer(texts, return_tensors="pt", padding=True)
    width = prompts["input_ids"].shape[1]
    options = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0, "max_new_tokens": subject.longest}
    torch.manual_seed(seed)
    with prompts_once(model.base_model):
        found = model.generate(**prompts, **options, pad_token_id=tokenizer.pad_token_id)
    ends = model.generation_config.eos_token_id
    ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id}
    completions = [_until(ids, ends) for ids in found[:, width:].tolist()]
    texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
    rewards = load_reward(subject.reward)(completions=texts, **columns)
    masks = prompts["attention_mask"].bool()
    ids = [row[mask].tolist() for row, mask in zip(prompts["input_ids"], masks, strict=True)]
    return StoredRollout(ids, completions, rewards, n)


def _chat(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def _until(ids: list[int], ends: set[int]) -> list[int]:
    """Return the tokens up to the first one of `ends`, with it."""
    return ids[: next((place for place, token in enumerate(ids, start=1) if token in ends), len(ids))]


@torch.no_grad()
def logits_of(model: PreTrainedModel, rollout: StoredRollout) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """
    Return what a model says about the tokens of a rollout, prompt by prompt, each of which it computes once.

    Returns:
        A list with, for each prompt, the logits `(completions, tokens, vocabulary)`, the tokens `(completions,
        tokens)`, and a mask of the tokens that are no padding.
    """
    found, n = [], rollout.per_prompt
    for first in range(0, len(rollout.completions), n):
        rows = [torch.tensor(ids) for ids in rollout.completions[first : first + n]]
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
        prompt = model(torch.tensor([rollout.prompts[first]]), use_cache=True, logits_to_keep=1)
        prompt.past_key_values.batch_repeat_interleave(n)
        rest = model(tokens, past_key_values=prompt.past_key_values).logits[:, :-1]
        found.append((torch.cat([prompt.logits.expand(n, -1, -1), rest], dim=1), tokens, mask))
    return found


def said_by(model: PreTrainedModel, rollout: StoredRollout) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the entropies (nats) and log-probabilities of all tokens of a rollout, both `(tokens,)`."""
    entropies, chosen = [], []
    for logits, tokens, mask in logits_of(model, rollout):
        logps = logits.log_softmax(-1)
        entropies.append(-(logps.exp() * logps).sum(-1)[mask])
        chosen.append(logps.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)[mask])
    return torch.cat(entropies), torch.cat(chosen)
