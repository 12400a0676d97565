"""Token-mean entropy, the long way round."""

import torch

from es_trl.trainer.sensor import completion_mask


def plain_entropy(trainer, batches):
    """Token-mean entropy of the policy on TRL's batches, the long way round."""
    total = tokens = 0.0
    for batch in batches:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            logits = trainer.model(input_ids=ids, attention_mask=attention).logits.double()
        logits = logits[:, -batch["completion_ids"].shape[1] - 1 : -1] / trainer.temperature
        log_p = logits.log_softmax(-1)
        entropies = -(log_p.exp() * log_p).sum(-1)
        mask = completion_mask(batch)
        total += (entropies * mask).sum().item()
        tokens += mask.sum().item()
    return total / tokens
