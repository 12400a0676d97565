"""Micro-batches and scores of a few numbers, for tests of actuators."""

import torch

from es_trl.actuators.batch import MicroBatch, Scores


def batch_of(advantages, logps=None, old_logps=None, mask=None, entropies=None, clamped=None, **columns):
    """A micro-batch that is a whole update of one process."""
    advantages = torch.tensor(advantages)
    logps = torch.zeros(len(advantages), 2) if logps is None else torch.tensor(logps)
    mask = torch.ones_like(logps) if mask is None else torch.tensor(mask)
    return MicroBatch(
        inputs={"advantages": advantages, **columns},
        mask=mask,
        logps=logps,
        old_logps=logps if old_logps is None else torch.tensor(old_logps),
        entropies=torch.ones_like(logps) if entropies is None else torch.tensor(entropies),
        clamped=None if clamped is None else torch.tensor(clamped),
        clip=(0.2, 0.28),
        tokens=mask.sum(),
        completions=len(advantages),
    )


def scores_of(advantages, rewards, num_generations=4, tokens=None, token_mean=False):
    tokens = [2.0] * len(rewards) if tokens is None else tokens
    return Scores(
        advantages=torch.tensor(advantages),
        rewards=torch.tensor(rewards),
        task_rewards=torch.tensor(rewards),
        tokens=torch.tensor(tokens),
        num_generations=num_generations,
        token_mean=token_mean,
        rollout=3,
    )
