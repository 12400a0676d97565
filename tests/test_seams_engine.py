"""What TRL builds a vLLM engine with, and what the planner counts of its kernels and of DeepSpeed."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
import trl.generation.vllm_generation as engine_module
from accelerate.utils import fsdp_utils
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from peft import LoraConfig, get_peft_model
from seam_runs import probe
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM
from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE, ChunkedLogProbFunction
from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

from es_trl.lab import BASE_MODEL
from es_trl.planning import memory


class Engine:
    """In vLLM's place: notes how it is built and asked, and writes the prompt's first token."""

    def __init__(self, **options):
        self.options, self.slept, self.asked = options, [], []

    def sleep(self, level):
        self.slept.append(level)

    def __getattr__(self, name):  # weights that are loaded, caches that are reset
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None

    def generate(self, prompts, sampling_params, use_tqdm):
        self.asked.append(sampling_params["max_tokens"])
        ids = [list(prompt["prompt_token_ids"]) for prompt in prompts]
        completions = [
            SimpleNamespace(token_ids=own[:1], logprobs=[{own[0]: SimpleNamespace(logprob=-1.0, rank=1)}])
            for own in ids
        ]
        return [
            SimpleNamespace(prompt_token_ids=own, outputs=[written])
            for own, written in zip(ids, completions, strict=True)
        ]


@pytest.fixture
def colocated(tmp_path, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")  # so that what TRL sets is taken away behind the test
        del os.environ[name]
    monkeypatch.setattr(engine_module, "is_vllm_available", lambda *args: True)
    monkeypatch.setattr(engine_module, "LLM", Engine, raising=False)
    monkeypatch.setattr(engine_module, "SamplingParams", dict, raising=False)
    monkeypatch.setattr(engine_module.VLLMGeneration, "sync_weights", lambda self: None)
    return probe(tmp_path, use_vllm=True, vllm_mode="colocate", vllm_max_model_length=64, vllm_enable_sleep_mode=True,
                 vllm_importance_sampling_correction=False)  # fmt: skip


def test_the_engine_that_a_plan_counts(colocated):
    engine = colocated.vllm_generation.llm
    options = engine.options
    assert options["max_num_batched_tokens"] == memory.BATCHED_TOKENS and options["max_num_seqs"] == 16
    assert (options["max_model_len"], options["tensor_parallel_size"], engine.slept) == (64, 1, [2])


@pytest.mark.seam("_generate")
def test_the_engine_writes_as_much_as_the_stage_allows(colocated):
    colocated.model.train()
    for length in (12, 5):
        colocated.vllm_generation.max_completion_length = length
        generated = colocated._generate(["1 2=3:"] * 4)
        assert colocated.vllm_generation.llm.asked[-1] == length and [len(ids) for ids in generated[1]] == [1] * 4


def test_an_adapter_is_merged_with_all_weights_gathered():
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(BASE_MODEL), LoraConfig(target_modules=["q_proj"]))
    gathered = []

    @contextmanager
    def gather_params(parameters):
        gathered.append(len(parameters))
        yield

    generation = engine_module.VLLMGeneration.__new__(engine_module.VLLMGeneration)
    generation.model = model
    generation._dist = SimpleNamespace(is_fsdp=False, gather_params=gather_params)
    weights = dict(generation._iter_named_params())
    assert gathered == [len(list(model.parameters()))] and "model.layers.0.self_attn.q_proj.weight" in weights


class Zeros(TorchDispatchMode):
    """Notes the buffers of zeros that are made."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket is torch.ops.aten.zeros:
            self.made.append((tuple(result.shape), result.dtype))
        return result


def test_the_heads_gradient_is_summed_in_float32():
    assert (TOKEN_CHUNK_SIZE, _CHUNKED_LOGPROB_CHUNK_SIZE) == (memory.TILE_TOKENS, memory.TILE_VOCAB)
    weight = torch.randn(9, 4, dtype=torch.bfloat16, requires_grad=True)
    hidden = torch.randn(6, 4, dtype=torch.bfloat16, requires_grad=True)
    logps, *_ = ChunkedLogProbFunction.apply(
        hidden, weight, None, torch.arange(6), 1.0, _CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, ("log_probs", "entropy")
    )
    with Zeros() as zeros:
        logps.sum().backward()
    assert ((9, 4), torch.float32) in zeros.made and weight.grad.dtype == torch.bfloat16


def test_buckets_of_deepspeed():
    zero = DeepSpeedZeroConfig(stage=3)
    assert zero.reduce_bucket_size == memory.REDUCE_BUCKET and zero.max_reuse_distance == memory.MAX_REUSE
    assert zero.prefetch_bucket_size == memory.PREFETCH and zero.sub_group_size == memory.SUB_GROUP
    assert zero.contiguous_gradients and not DeepSpeedZeroConfig(stage=2).overlap_comm


def test_fsdp2_holds_what_is_trained_in_float32(monkeypatch):
    monkeypatch.setattr(torch.distributed.fsdp, "fully_shard", lambda *args, **kwargs: None)
    plugin = SimpleNamespace(
        set_auto_wrap_policy=lambda model: None, auto_wrap_policy=None, reshard_after_forward=True, cpu_offload=None,
        mixed_precision_policy=None, ignored_modules=None, cpu_ram_efficient_loading=False,
    )  # fmt: skip
    dtypes = {}
    for precision in ("no", "bf16"):
        model = torch.nn.Sequential(torch.nn.Linear(2, 2, dtype=torch.bfloat16), torch.nn.Linear(2, 2))
        model[0].bias.requires_grad_(False)
        accelerator = SimpleNamespace(
            state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision=precision, is_main_process=False
        )
        fsdp_utils.fsdp2_prepare_model(accelerator, model)
        dtypes[precision] = [parameter.dtype for parameter in model[0].parameters()]
    assert dtypes == {"no": [torch.bfloat16] * 2, "bf16": [torch.float32, torch.bfloat16]}
