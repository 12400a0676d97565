"""Rollouts of fixed token ids, injected into trainers, so that a benchmark measures their update phase alone."""

import contextlib
import gc
import io
import itertools
import os
import statistics
import tempfile
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # `rollout_func` is experimental

import numpy as np
import torch
from datasets import Dataset
from meters import Meter
from tokenizers import Tokenizer, models
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from es_trl import ESGRPOConfig, ESGRPOTrainer


SPECIAL = ("<pad>", "<eos>", "<unk>")
ON_GPU = torch.cuda.is_available()
OWN_FIELDS = {each.name for each in fields(ESGRPOConfig)}


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen2 with random weights, in fp32 on a CPU and in bf16 on a GPU."""

    hidden: int = 256
    intermediate: int = 1024
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    vocabulary: int = 4096
    checkpointing: bool = False  # gradient checkpointing


@dataclass(frozen=True)
class Case:
    """
    The sizes of a rollout.

    Args:
        completions, per_prompt, micro_batch, updates (`int`):
            Completions per rollout, per prompt and per micro-batch of TRL, and updates per rollout.
        mean, longest, prompt (`int`):
            Mean and maximum length of the completions and mean length of the prompts, tokens.
        lengths (`str`):
            Distribution of the lengths: `lognormal`, `uniform` (up to twice the mean) or `equal`.
        shape ([`Shape`]):
            The model.
    """

    completions: int = 64
    per_prompt: int = 8
    mean: int = 100
    longest: int = 512
    lengths: str = "lognormal"
    prompt: int = 20
    micro_batch: int = 4
    updates: int = 4
    shape: Shape = Shape()

    @property
    def fill(self) -> float:
        """Mean over maximum length of the completions."""
        return self.mean / self.longest

    def equal(self) -> "Case":
        """Return the case with as many tokens and with all prompts and all completions of equal length."""
        return replace(self, lengths="equal")

    def completion_lengths(self) -> list[int]:
        """
        Return the lengths of the completions: quantiles of the distribution, in random order.

        Their sum is exactly `completions` times `mean`, whatever the distribution.
        """
        order = np.random.default_rng(0).permutation(self.completions)
        shares = (np.arange(self.completions) + 0.5) / self.completions
        if self.lengths == "equal":
            return [self.mean] * self.completions
        if self.lengths == "uniform":
            found = 2.0 * self.mean * shares
        else:
            found = _lognormal(shares, self.mean, self.longest)
        ends = np.round(np.cumsum(found)).astype(int)  # rounded sums, so that no token is lost
        return np.diff(ends, prepend=0).clip(1)[order].tolist()

    def prompt_lengths(self) -> list[int]:
        """Return the lengths of the prompts, which differ by up to a fifth around their mean."""
        prompts = self.completions // self.per_prompt
        if self.lengths == "equal" or prompts == 1:
            return [self.prompt] * prompts
        return np.linspace(0.8 * self.prompt, 1.2 * self.prompt, prompts).round().astype(int).tolist()


def _lognormal(shares: np.ndarray, mean: float, longest: float) -> np.ndarray:
    """Return lognormal quantiles whose mean and maximum are the given ones."""
    scores = np.array([statistics.NormalDist().inv_cdf(share) for share in shares])
    low, high = 0.0, float(scores[-1])  # the maximum over the mean grows with the width up to about here
    for _ in range(60):
        width = (low + high) / 2
        quantiles = np.exp(width * scores)
        low, high = (low, width) if quantiles[-1] / quantiles.mean() > longest / mean else (width, high)
    return quantiles * mean / quantiles.mean()


class Injected:
    """
    A `rollout_func` that returns the same random token ids in every rollout and starts the meter.

    Args:
        case ([`Case`]):
            The sizes.
        meter ([`Meter`]):
            Measures from the end of this function to the last update of the rollout.
    """

    def __init__(self, case: Case, meter: Meter):
        rng, self._meter = np.random.default_rng(1), meter
        vocabulary = range(len(SPECIAL), case.shape.vocabulary)
        draw = [rng.integers(vocabulary.start, vocabulary.stop, length).tolist() for length in case.prompt_lengths()]
        self.prompts = [ids for ids in draw for _ in range(case.per_prompt)]
        self.completions = [
            [*rng.integers(vocabulary.start, vocabulary.stop, length - 1).tolist(), SPECIAL.index("<eos>")]
            for length in case.completion_lengths()
        ]

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        torch.manual_seed(0)  # TRL shuffles the rollout, with every variant in the same order
        self._meter.begin(trainer.model)
        return {"prompt_ids": self.prompts, "completion_ids": self.completions, "logprobs": None}


def random_rewards(completions: list[str], **kwargs: Any) -> list[float]:
    """Return rewards from a seeded random draw, one per completion."""
    return np.random.default_rng(2).random(len(completions)).tolist()


class TrimmedTrainer(GRPOTrainer):
    """TRL's trainer with one change: each chunk is trimmed to its own longest prompt and completion."""

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        prompts, found = input_ids.shape[1] - logits_to_keep, []
        chunks = zip(*(each.split(batch_size or len(input_ids)) for each in (input_ids, attention_mask)), strict=True)
        for ids, mask in chunks:
            used = mask.any(0).nonzero()
            first, last = min(int(used[0]), prompts - 1), max(int(used[-1]) + 1, prompts + 1)
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
                model, ids[:, first:last], mask[:, first:last], last - prompts, **kwargs
            )
            padded = [
                None if each is None else pad(each, (0, input_ids.shape[1] - last)) for each in (logps, entropies)
            ]
            found.append((*padded, aux_loss))
        logps, entropies, losses = ([each for each in part if each is not None] for part in zip(*found, strict=True))
        return (
            torch.cat(logps),
            torch.cat(entropies) if entropies else None,
            torch.stack(losses).mean() if losses else None,
        )


VARIANTS: dict[str, tuple[type[GRPOTrainer], type[GRPOConfig], dict[str, Any]]] = {
    "trl": (GRPOTrainer, GRPOConfig, {}),
    "trimmed": (TrimmedTrainer, GRPOConfig, {}),
    "es_trl": (ESGRPOTrainer, ESGRPOConfig, {}),
    "es_trl off": (ESGRPOTrainer, ESGRPOConfig, {"micro_batches": "completions"}),
    "limit": (GRPOTrainer, GRPOConfig, {}),
}


def is_known(variant: str) -> bool:
    """Return whether this version of es_trl has the fields of a variant."""
    return VARIANTS[variant][2].keys() <= OWN_FIELDS


def config_of(shape: Shape, longest: int) -> Qwen2Config:
    """Return the configuration of a model for sequences of up to `longest` tokens."""
    return Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )


def model_of(shape: Shape, longest: int) -> Qwen2ForCausalLM:
    """Return the model with random weights from a fixed seed."""
    torch.manual_seed(0)
    with torch.device("cuda" if ON_GPU else "cpu"):
        return Qwen2ForCausalLM(config_of(shape, longest)).to(torch.bfloat16 if ON_GPU else torch.float32)


def tokenizer_of(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are numbers."""
    words = {word: index for index, word in enumerate([*SPECIAL, *map(str, range(vocabulary - len(SPECIAL)))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def train(variant: str, case: Case, meter: Meter, rollouts: int, changes: dict[str, Any]) -> None:
    """Train a fresh model on some rollouts of a case, with some fields of the configuration changed."""
    torch.set_num_threads(1)
    kind, config, own = VARIANTS[variant]
    case = case.equal() if variant == "limit" else case
    micro_batches = case.completions // case.micro_batch
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        args = config(
            folder,
            per_device_train_batch_size=case.micro_batch,
            gradient_accumulation_steps=micro_batches // case.updates,
            steps_per_generation=micro_batches,
            num_generations=case.per_prompt,
            max_completion_length=case.longest,
            max_steps=case.updates * rollouts,
            lr_scheduler_type="constant",
            gradient_checkpointing=case.shape.checkpointing,
            use_cpu=not ON_GPU,
            bf16=ON_GPU,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **{"logging_steps": 1, **own, **changes},
        )
        trainer = kind(
            model_of(case.shape, 2 * (case.longest + case.prompt)),
            random_rewards,
            args,
            train_dataset=Dataset.from_dict({"prompt": list(map(str, range(case.completions // case.per_prompt)))}),
            processing_class=tokenizer_of(case.shape.vocabulary),
            callbacks=[meter],
            rollout_func=Injected(case, meter),
        )
        trainer.train()
    del trainer
    gc.collect()


def machine(on_gpu: bool = ON_GPU) -> dict[str, Any]:
    """Return the hardware that a run was on, its number of threads, and the versions of the packages."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in cpus if line.startswith("model name"))
    return {
        "hardware": torch.cuda.get_device_name() if on_gpu else next(itertools.chain(names, ["CPU"])),
        "threads": torch.get_num_threads(),
        "versions": {package: version(package) for package in ("torch", "transformers", "trl")},
    }
