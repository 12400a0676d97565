"""Completions by vLLM."""

from typing import Any

from transformers import PreTrainedTokenizerBase

from .models import ModelFiles
from .sampling import Completion, Sampling, completions_of
from .units import seed_from


class VLLMSampler:
    """
    Sampler of an engine of vLLM in this process.

    Args:
        files (`ModelFiles`):
            The model.
        sampling (`Sampling`):
            How to sample.
        longest (`int`):
            Tokens of the longest prompt.
        engine (`dict[str, Any]`, *optional*):
            Further options of `vllm.LLM`.

    Raises:
        ImportError: if vLLM is not installed.
    """

    def __init__(self, files: ModelFiles, sampling: Sampling, longest: int, engine: dict[str, Any] | None = None):
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ImportError:
            raise ImportError("vllm is not installed, but --backend is vllm: install it, or set transformers") from None
        options: dict[str, Any] = {"max_model_len": longest + sampling.max_new_tokens, "generation_config": "vllm"}
        if files.adapter_rank:
            # vLLM takes only some ranks, all of them powers of two
            options |= {"enable_lora": True, "max_lora_rank": max(8, 1 << (files.adapter_rank - 1).bit_length())}
        self._llm = LLM(files.base, seed=0, **options, **(engine or {}))
        self._lora = LoRARequest("adapter", 1, files.name) if files.adapter_rank else None
        self._tokenizer: PreTrainedTokenizerBase = files.tokenizer
        self._ends = files.end_ids
        self._sampling = sampling

    def sample(self, prompts: list[list[int]], number: int, seed: int) -> list[Completion]:
        """Return `number` completions of each prompt (token ids), those of a prompt in a row."""
        from vllm import SamplingParams

        # the end tokens alone end a completion, as in transformers, whatever tokenizer vLLM finds
        ends = {"stop_token_ids": self._ends, "ignore_eos": True}
        common = {"max_tokens": self._sampling.max_new_tokens, "detokenize": False, **ends}
        common |= {"temperature": self._sampling.temperature, "top_p": self._sampling.top_p}
        # vLLM draws the completions of a prompt with its seed and the ones that follow
        greedy = self._sampling.temperature == 0
        params = [
            SamplingParams(n=1 if greedy else number, seed=seed_from(seed, place), **common)
            for place in range(len(prompts))
        ]
        inputs: Any = [{"prompt_token_ids": ids} for ids in prompts]
        outputs = self._llm.generate(inputs, params, use_tqdm=False, lora_request=self._lora)
        made = [list(each.token_ids) for out in outputs for each in out.outputs for _ in range(number if greedy else 1)]
        return completions_of(made, self._ends, self._tokenizer)
