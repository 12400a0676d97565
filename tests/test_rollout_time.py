"""Projected seconds per rollout, by hand."""

from dataclasses import dataclass, replace

import pytest
from planned_run import H100, LORA, QWEN_7B, SEVEN

from es_trl.planning.launch import GPUS
from es_trl.planning.memory import GiB, cache_tokens
from es_trl.planning.summary import generation_time, rollout_time


@dataclass
class Args:
    """What the projection reads of a configuration."""

    gradient_accumulation_steps: int = 8
    steps_per_generation: int = 128
    num_iterations: int = 1
    beta: float = 0.0
    use_vllm: bool = False
    vllm_importance_sampling_correction: bool = True


def test_times_by_hand():
    times = rollout_time(SEVEN, H100, Args(num_iterations=3, beta=0.1))
    # 512 completions of 1,024 + 4,096 tokens; 2 N operations and attention to 5,120 tokens in 28 layers of 3,584
    forward = 512 * 5120 * (2 * 7_615_616_512 + 4 * 28 * 3584 * 5120) / (0.4 * 989e12)
    assert times.scoring == pytest.approx(2 * forward) and times.updates == pytest.approx(3 * 4 * forward)
    assert times.total == times.generation + times.scoring + times.updates
    bare = rollout_time(replace(SEVEN, checkpointing=False), H100, Args())
    assert bare.updates == pytest.approx(3 * forward)
    adapted = rollout_time(replace(SEVEN, adapter=LORA), H100, Args())
    assert adapted.updates == pytest.approx(3 * forward)  # a frozen weight has no gradient, and is run forward again


@pytest.mark.parametrize(
    ("args", "count"),
    [
        (Args(), 1),
        (Args(beta=0.1), 2),
        (Args(gradient_accumulation_steps=128), 0),  # one update per rollout has no old log-probabilities
        (Args(gradient_accumulation_steps=128, use_vllm=True), 1),
        (Args(gradient_accumulation_steps=128, use_vllm=True, vllm_importance_sampling_correction=False), 0),
    ],
)
def test_forward_passes_before_the_first_update(args, count):
    forward = rollout_time(SEVEN, H100, Args()).updates / 4
    assert rollout_time(SEVEN, H100, args).scoring == pytest.approx(count * forward)


def test_generation_by_hand():
    # 1,024 + 2,048 / 2 tokens of a completion are in the cache, on average; 286,385 tokens hold 139.8 of the 512
    batch = cache_tokens(SEVEN, 79.1 * GiB) / 2048
    reading = (2 * 7_615_616_512 + batch * 2048 * QWEN_7B.kv_bytes) / (0.6 * 3.35e12)
    steps = 512 * 2048 / batch
    prompts = 512 * 1024 * (2 * 7_615_616_512 + 4 * 28 * 3584 * 1024) / (0.4 * 989e12)
    assert steps > 4096
    assert generation_time(SEVEN, H100) == pytest.approx(steps * reading + prompts)
    # one sequence has as many steps as its longest has tokens, and reads the weights in each
    alone = generation_time(replace(SEVEN, sequences=1), H100)
    read = (2 * 7_615_616_512 + 2048 * QWEN_7B.kv_bytes) / (0.6 * 3.35e12)
    assert alone == pytest.approx(4096 * read + prompts / 512)
    assert generation_time(replace(SEVEN, generates=False, engine=None), H100) is None
    assert generation_time(SEVEN, GPUS["h200"]) < generation_time(SEVEN, H100)
