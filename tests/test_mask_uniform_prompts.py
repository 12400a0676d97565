"""Skywork-OR1's rejection: prompts whose completions all got the same reward are left out and not replaced."""

import pytest
import torch
from plain_entropy import plain_entropy
from stage_runs import DATASETS, make

from es_trl.trainer.sensor import completion_mask


def by_parity(completions, completion_ids, prompts, **_):
    """A reward that is equal for the first two of four prompts, and differs for the others."""
    return [1.0 if row < 8 else float(row % 2) for row in range(len(prompts))]


def always(prompts, **_):
    return [0.5] * len(prompts)


def trained(tmp_path, name, reward, **changes):
    same = {"datasets": DATASETS["train"], "reward": reward, "max_steps": 4, "micro_batches": "completions"}
    trainer = make(tmp_path, name, learning_rate=0.0, **{**same, **changes})
    trainer.train()
    return trainer


def test_they_are_in_no_mean(tmp_path):
    trainer = trained(tmp_path, "masked", by_parity, mask_uniform_prompts=True)
    uniform = [each["prompt_index"] < 2 for each in trainer.passes]
    scored = [completion_mask(each).sum(dim=1) for each in trainer.passes]
    assert sum(rows.sum().item() for rows in uniform) == 8
    for rows, tokens, each in zip(uniform, scored, trainer.passes, strict=True):
        assert ((tokens == 0) == rows).all()
        assert each["num_items_in_batch"] == sum(tokens.sum() for tokens in scored)
    (record,) = trainer.history.records
    assert record["entropy"] == pytest.approx(plain_entropy(trainer, trainer.passes), abs=1e-5)
    assert record["uniform_rewards"] == 0.5 and record["sampling"] is None


def test_if_all_are_uniform_all_stay(tmp_path):
    trainer = trained(tmp_path, "all", always, mask_uniform_prompts=True)
    assert all((completion_mask(each).sum(dim=1) > 0).all() for each in trainer.passes)
    assert (
        trainer.history.records[0]["entropy"] > 0.0 and torch.cat([e["advantages"] for e in trainer.passes]).eq(0).all()
    )
