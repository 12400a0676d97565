"""`cut_ratios` in the history is what TRL cut."""

import math

import pytest
from trl.generation.vllm_generation import VLLMGeneration

from es_trl import ESGRPOTrainer


LOW, HIGH = 0.9, 1.2


class Keeping(ESGRPOTrainer):
    """Keeps the batch of every rollout."""

    batches: list

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        self.batches.append(batch)
        return batch


def share_beyond_the_bounds(batch, by_token):
    """Counted from the log-probabilities of both sides, one completion after the other."""
    ratios = []
    rows = zip(*(batch[f"{name}_logps"] for name in ("old_per_token", "sampling_per_token")), strict=True)
    for (old, sampled), mask in zip(rows, batch["completion_mask"], strict=True):
        gaps = (old - sampled)[mask.bool()].double().tolist()
        ratios += map(math.exp, gaps if by_token else [sum(gaps)])
    return sum(not LOW <= ratio <= HIGH for ratio in ratios) / len(ratios)


@pytest.mark.parametrize("mode", ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"])
def test_it_is_counted(mode, vllm_trainer, monkeypatch):
    bounds = {"vllm_importance_sampling_clip_min": LOW, "vllm_importance_sampling_clip_max": HIGH}
    trainer = vllm_trainer(
        Keeping, steps_per_generation=1, max_steps=6, vllm_importance_sampling_mode=mode, learning_rate=2e-3, **bounds
    )
    trainer.batches = []
    trainer.vllm_generation.sync_weights()
    monkeypatch.setattr(VLLMGeneration, "sync_weights", lambda self: None)  # so that the ratios leave 1
    trainer.train()
    cut = [record["cut_ratios"] for record in trainer.history.records]
    assert cut == pytest.approx([share_beyond_the_bounds(b, mode.startswith("token")) for b in trainer.batches])
    assert cut[0] == 0.0 and 0.0 < max(cut) and len(set(cut)) > 2
    assert [line["es/cut_ratios"] for line in trainer.state.log_history if "es/cut_ratios" in line] == cut


def test_without_the_correction_nothing_is(vllm_trainer):
    trainer = vllm_trainer(max_steps=4, vllm_importance_sampling_correction=False)
    trainer.train()
    (record,) = trainer.history.records
    assert (record["cut_ratios"], record["logp_difference"]) == (None, None) and record["entropy"] > 0.1
