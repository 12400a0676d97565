"""The layout `shared`: the completions of a prompt compute the prompt once.

The prompts are computed first, each once and without its last token. Their keys and values stay in the graph, so that
gradients flow back through them, and are handed to every completion of the prompt. The completions follow, each with
the last token of its prompt, which predicts the first token of the completion.
"""

import torch
from transformers import DynamicCache

from .layout import Laid, Sizes


def shared_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out each prompt once and its completions behind it."""
    width = mask.shape[1] - sizes.completion_width
    known = torch.where(mask[:, :width], input_ids[:, :width], -1)
    prompts, of_prompt = torch.unique(known, dim=0, return_inverse=True)
    lengths = (prompts >= 0).sum(dim=1) - 1  # without the last token
    longest = -(-int(lengths.max()) // sizes.multiple_of) * sizes.multiple_of
    columns = torch.arange(longest, device=mask.device)
    from_columns = (width - 1 - lengths).unsqueeze(1) + columns
    # padding lies behind a prompt, which does not see it; the completions must not see it either
    prefix = {
        "input_ids": prompts.gather(1, from_columns.clamp(max=width - 1)).clamp(min=0),
        "position_ids": (sizes.prompt_width - 1 - lengths).unsqueeze(1) + columns,
    }
    is_seen = (columns < lengths.unsqueeze(1))[of_prompt]
    tail = input_ids[:, width - 1 :]
    positions = torch.arange(sizes.prompt_width - 1, sizes.prompt_width + sizes.completion_width, device=mask.device)
    inputs = {
        "input_ids": tail,
        "attention_mask": torch.cat([is_seen, torch.ones_like(tail, dtype=torch.bool)], dim=1).long(),
        "position_ids": positions.expand_as(tail),
    }
    if longest == 0:
        return Laid(inputs)

    def keys_and_values(backbone: torch.nn.Module) -> DynamicCache:
        cache = DynamicCache()
        backbone.forward(**prefix, past_key_values=cache, use_cache=True)
        cache.batch_select_indices(of_prompt)
        return cache

    return Laid(inputs, prefix=keys_and_values)
