"""One rollout trained on by two trainers: their gradients, weights and logged metrics side by side.

The completions are injected, so both trainers see the same ones. `trained` makes a run of a `Case`, and
`assert_equal_runs` compares two runs. Updates are plain SGD, because Adam would blow up rounding where a gradient is
nearly 0.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from compared_runs import Run
from datasets import Dataset
from lab_runs import LAB_ARGS
from tiny_models import EXPERTS, SIZES, tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3MoeConfig,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from es_trl import EntropyScheduler, ESGRPOConfig, ESGRPOTrainer, HoldController
from es_trl.control.base import Actuator


LONGEST = 24  # tokens of a completion
WIDE = {**SIZES, "initializer_range": 0.15}  # large weights: the entropies of the tokens differ
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.15}
DROPOUTS = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
MODELS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(**WIDE),
    "qwen2_tied": lambda: Qwen2Config(**WIDE, tie_word_embeddings=True),
    "mixtral": lambda: MixtralConfig(**WIDE, num_local_experts=4, num_experts_per_tok=2, router_aux_loss_coef=0.1),
    "qwen3_moe": lambda: Qwen3MoeConfig(**WIDE, **EXPERTS, num_experts=4, router_aux_loss_coef=0.1),
    "qwen3_moe_without_loss": lambda: Qwen3MoeConfig(**WIDE, **EXPERTS, num_experts=4, router_aux_loss_coef=0.0),
    "gpt2": lambda: GPT2Config(vocab_size=SIZES["vocab_size"], **GPT2, **DROPOUTS, eos_token_id=1, bos_token_id=1),
    "mistral_window": lambda: MistralConfig(**WIDE, sliding_window=6),
    "qwen2_window": lambda: Qwen2Config(**WIDE, use_sliding_window=True, sliding_window=6, max_window_layers=1),
}
# 32 completions in micro-batches of 4, 2 updates per rollout, 2 rollouts
ARGS = {
    **LAB_ARGS,
    "gradient_accumulation_steps": 4,
    "steps_per_generation": 8,
    "max_completion_length": LONGEST,
    "max_steps": 4,
    "learning_rate": 0.1,  # ratios leave the clip bounds; with more, rounding grows from update to update
    "lr_scheduler_type": "constant",
    "optim": "sgd",
    "max_grad_norm": 1e6,  # the norm is logged, but no gradient is scaled
    "model_init_kwargs": {"dtype": "float32"},
}
ALL_VARIANTS: list[dict[str, Any]] = [
    {},
    {"micro_batches": "completions"},
    {"max_tokens_per_micro_batch": 64},
    {"shared_prefixes": False},
    {"shared_prefixes": True},
]
FIELDS = {each.name for each in fields(ESGRPOConfig)}
VARIANTS = [variant for variant in ALL_VARIANTS if variant.keys() <= FIELDS]
# TRL's own path, bit for bit: the only path where the fields do not exist
TRL_PATH = {"micro_batches": "completions"} if "micro_batches" in FIELDS else {}


@dataclass(frozen=True)
class Case:
    """A configuration and the completions that it trains on.

    `changes` are fields of TRL's configuration. `actuator` is held at `control` by an open loop, which only
    `ESGRPOTrainer` has; `own` are fields that only its configuration has.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    model: str = "llama"
    lengths: str = "tailed"  # or: equal, one token, one long
    has_env_mask: bool = False
    has_logprobs: bool = False
    leaves_unscored: bool = False
    signs_by_prompt: bool = False  # the completions of half of the prompts all get the same reward
    adapts: bool = False  # PEFT
    evaluates: bool = False
    prompts: int = 64
    actuator: Actuator | None = None
    control: float = 0.0
    own: dict[str, Any] = field(default_factory=dict)


class Recorder(TrainerCallback):
    """Keeps the accumulated gradient of every update, and the weights before the first one."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.before: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: torch.nn.Module, **kwargs: Any) -> None:
        self.before = {name: value.clone() for name, value in model.state_dict().items()}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: torch.nn.Module, **kwargs: Any) -> None:
        trained = ((name, value.grad) for name, value in model.named_parameters() if value.grad is not None)
        self.gradients.append({name: grad.clone() for name, grad in trained})


class InjectedRollouts:
    """A `rollout_func` of random completions, the same for the same number of earlier calls."""

    def __init__(self, case: Case):
        self.case, self.calls = case, 0

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        random = torch.Generator().manual_seed(self.calls)
        self.calls += 1
        lengths = self._lengths(len(prompts), random)
        completions = [
            torch.randint(3, SIZES["vocab_size"], (length,), generator=random).tolist() for length in lengths
        ]
        for index, completion in enumerate(completions):
            # the others are truncated; few of a single token end, so that their rewards differ
            if index % 5 == 1 or (index % 5 != 2 and 1 < len(completion) < LONGEST):
                completion[-1] = SIZES["eos_token_id"]
        prompt_ids = trainer.processing_class(text=prompts)["input_ids"]
        rollout = {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None}
        if self.case.has_logprobs:
            rollout["logprobs"] = [(-4.5 * torch.rand(length, generator=random)).tolist() for length in lengths]
        if self.case.has_env_mask:
            masks = [(torch.rand(length, generator=random) < 0.7).long().tolist() for length in lengths]
            rollout["env_mask"] = [[0] * len(masks[0]), *masks[1:]]  # nothing of the first one is the model's own
        return rollout

    def _lengths(self, count: int, random: torch.Generator) -> list[int]:
        if self.case.lengths != "tailed":
            same = {"equal": [7] * count, "one token": [1] * count, "one long": [LONGEST, *[1] * (count - 1)]}
            return same[self.case.lengths]
        tailed = (torch.randn(count, generator=random) * 0.9 + 1.3).exp().round().clamp(1, LONGEST).int()
        tailed[1], tailed[count // 2] = LONGEST, 1
        return tailed.tolist()


def prompts(count: int) -> Dataset:
    """Prompts of 2 to 11 tokens."""
    return Dataset.from_dict({"prompt": [f"{'xyz+' * (index % 3)}{index}=" for index in range(count)]})


def reward_of(case: Case) -> Callable[..., list[float | None]]:
    """Return a reward function of the completions' tokens, from -3 to 3, which also logs a metric."""

    def reward(
        prompts: list[str], completion_ids: list[list[int]], log_metric: Any, **kwargs: Any
    ) -> list[float | None]:
        sums = [sum(ids) for ids in completion_ids]
        log_metric("sums", sum(sums) / len(sums))
        rewards: list[float | None] = [float(value % 7 - 3) for value in sums]
        if case.signs_by_prompt:
            return [
                1.0 if int(prompt[:-1].split("+")[-1]) % 2 else each
                for prompt, each in zip(prompts, rewards, strict=True)
            ]
        if case.leaves_unscored:
            return [None if value % 3 == 0 else each for value, each in zip(sums, rewards, strict=True)]
        return rewards

    return reward


class Held(HoldController):
    """Keeps the initial control, which may be a sign."""

    gives_sign = True


def held(actuator: Actuator, control: float) -> EntropyScheduler:
    """Return a scheduler that leaves `actuator` at `control`."""
    values = {each.name: getattr(actuator, each.name) for each in fields(actuator)}
    begins = type("Begins", (type(actuator),), {"initial": lambda self, args: control})
    return EntropyScheduler(None, Held(), begins(**values))


def trained(case: Case, trainer_class: type[GRPOTrainer] = ESGRPOTrainer, **own: Any) -> Run:
    """Train on a case; `own` are fields of `ESGRPOConfig` alone, for example one of `VARIANTS`."""
    is_own = issubclass(trainer_class, ESGRPOTrainer)
    recorder, callbacks, more = Recorder(), [], {}
    if case.actuator is not None:
        callbacks.append(held(case.actuator, case.control))
    if case.adapts:
        lora = pytest.importorskip("peft").LoraConfig
        more["peft_config"] = lora(r=4, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.0)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        path = str(Path(folder) / "model")
        AutoModelForCausalLM.from_config(MODELS[case.model]()).save_pretrained(path)
        values = {**ARGS, "output_dir": str(Path(folder) / "run"), **case.changes}
        args = ESGRPOConfig(**values, **case.own, **own) if is_own else GRPOConfig(**values)
        trainer = trainer_class(
            path,
            reward_of(case),
            args,
            prompts(case.prompts),
            prompts(8) if case.evaluates else None,
            processing_class=tiny_tokenizer(),
            callbacks=[recorder, *callbacks],
            rollout_func=InjectedRollouts(case),
            **more,
        )
        trainer.train()
    weights = {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}
    return Run(recorder.gradients, recorder.before, weights, trainer.state.log_history)


def fast_if(fast: Iterable[str], names: Iterable[str]) -> list[Any]:
    """Return `names` as parameters of a test, which is slow for all that are not in `fast`."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]
