"""The layout `shared`: the completions of a prompt compute the prompt once.

The prompts are computed first, each once and without its last token. Their keys and values stay in the graph, so that
gradients flow back through them, and are handed to every completion of the prompt. The completions follow, each with
the last token of its prompt, which predicts the first token of the completion.
"""

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from .layout import Laid, Sizes


def shared_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out each prompt once and its completions behind it."""
    width = mask.shape[1] - sizes.completion_width
    known = torch.where(mask[:, :width], input_ids[:, :width], -1)
    prompts, of_prompt = torch.unique(known, dim=0, return_inverse=True)
    # all but the last token of each prompt; padding stays on the left, because windows count it as distance
    longest = -(-int((prompts >= 0).sum(dim=1).max() - 1) // sizes.multiple_of) * sizes.multiple_of
    prompts = pad(prompts, (max(longest + 1 - width, 0), 0), value=-1)[:, -longest - 1 : -1]
    positions = sizes.prompt_width - 1 + torch.arange(-longest, sizes.completion_width + 1, device=mask.device)
    prefix = {
        "input_ids": prompts.clamp(min=0),
        "attention_mask": (prompts >= 0).long(),
        "position_ids": positions[:longest].clamp(min=0).expand_as(prompts),
    }
    tail = input_ids[:, width - 1 :]
    inputs = {
        "input_ids": tail,
        "attention_mask": torch.cat([prefix["attention_mask"][of_prompt], torch.ones_like(tail)], dim=1),
        "position_ids": positions[longest:].expand_as(tail),
    }
    if longest == 0:
        return Laid(inputs)

    def keys_and_values(backbone: torch.nn.Module) -> DynamicCache:
        cache = DynamicCache()
        backbone.forward(**prefix, past_key_values=cache, use_cache=True)
        cache.batch_select_indices(of_prompt)
        return cache

    return Laid(inputs, prefix=keys_and_values)
