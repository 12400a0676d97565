"""vLLM's CPU build as TRL's colocated engine.

The CPU backend packs the weights of every linear layer anew after loading and drops the parameters, so that TRL's sync,
which calls the model's `load_weights`, finds nothing to load into. Here the layers keep their weights as they are.
"""

import functools

import torch
import vllm.model_executor.layers.utils as layers
from trl.generation import vllm_generation
from vllm import LLM


CACHE_BYTES = 2**26  # vLLM would take a share of the machine's memory


def adapt():
    """Before the first trainer is built."""
    layers.dispatch_cpu_unquantized_gemm = _keep_weights
    vllm_generation.LLM = engine


@functools.cache  # vLLM's process groups outlive a trainer, and building an engine takes seconds
def engine(**options):
    """The engine that TRL asks for, in the trainer's own precision: TRL names none, and vLLM would take 16 bits."""
    return LLM(dtype="float32", enforce_eager=True, kv_cache_memory_bytes=CACHE_BYTES, **options)


def _keep_weights(layer, remove_weight):
    layer.cpu_linear = torch.nn.functional.linear
