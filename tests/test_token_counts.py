"""How many tokens an update computes: those of its completions, and no padding."""

import pytest
import torch
from equal_updates import ARGS, Case, InjectedRollouts, prompts, reward_of
from layouts import LENGTHS, batch_of, said, tiny
from tiny_models import tiny_tokenizer

from es_trl import ESGRPOConfig, ESGRPOTrainer


PROMPTS = sum(p for p, _ in LENGTHS)
COMPLETIONS = sum(c for _, c in LENGTHS)
SHARED = sum(p for p, _ in LENGTHS[:2]) + sum(p for p, _ in LENGTHS[4:])  # rows 1 to 3 have one prompt


class Counts:
    """The shapes that pass through the embedding, the last MLP and the head of a model."""

    def __init__(self, model, monkeypatch):
        import trl.trainer.utils

        self.embedded, self.mlp, self.scored = [], [], []
        model.model.embed_tokens.register_forward_hook(
            lambda module, args, output: self.embedded.append((args[0].shape[0], args[0].shape[1]))
        )
        model.model.layers[-1].mlp.act_fn.register_forward_hook(
            lambda module, args, output: self.mlp.append(output.shape[:-1].numel())
        )
        apply = trl.trainer.utils._ChunkedLogProbFunction.apply

        class Counted:
            @staticmethod
            def apply(hidden, *others):
                self.scored.append(len(hidden))
                return apply(hidden, *others)

        monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Counted)


@pytest.mark.parametrize(
    ("layout", "embedded"),
    [
        ("packed", (1, PROMPTS + COMPLETIONS)),
        ("flash", (1, PROMPTS + COMPLETIONS)),
        ("shared", (1, SHARED + COMPLETIONS)),
        ("trimmed", (6, 20)),
        (None, (6, 9 + 11)),
    ],
)
def test_tokens_of_a_micro_batch(layout, embedded, monkeypatch):
    model = tiny("llama")
    counts = Counts(model, monkeypatch)
    said(model, batch_of(), layout)
    assert counts.embedded == [embedded]
    if layout is None:  # TRL's head gets all hidden states on a CPU
        assert counts.scored == [6 * 19] and counts.mlp == [6 * 20]
        return
    assert counts.scored == [COMPLETIONS]
    # the first tokens of several completions of a prompt are predicted by one hidden state where it is shared
    assert counts.mlp == [COMPLETIONS - (1 if layout == "shared" else 0)]


class Counting(ESGRPOTrainer):
    """Notes the completions of each rollout, and counts the tokens that the model embeds with a gradient."""

    def __init__(self, *args, **kwargs):
        self.rollouts, self.embedded = [], []
        super().__init__(*args, **kwargs)
        self.model.model.embed_tokens.register_forward_hook(self._count)

    def _count(self, module, args, output):
        self.embedded.append((torch.is_grad_enabled(), args[0].numel()))

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        self.rollouts.append({name: batch[name] for name in ("prompt_ids", "prompt_mask", "completion_mask")})
        return batch


def tokens_of(rollouts, shares):
    total = 0
    for rollout in rollouts:
        total += int(rollout["completion_mask"].sum())
        masks = rollout["prompt_mask"]
        rows = zip(rollout["prompt_ids"].tolist(), masks.tolist(), strict=True)
        known = [tuple(i for i, m in zip(ids, mask, strict=True) if m) for ids, mask in rows]
        total += sum(map(len, set(known) if shares else known))
    return total


@pytest.mark.parametrize("shares", [False, True])
def test_tokens_of_a_run(shares, tmp_path):
    """The backward passes of one update per rollout embed each token once."""
    tiny("llama").save_pretrained(tmp_path / "model")
    changes = {"gradient_accumulation_steps": 8, "max_steps": 2, "shared_prefixes": shares, "beta": 0.0}
    args = ESGRPOConfig(**{**ARGS, **changes}, output_dir=str(tmp_path / "run"), max_tokens_per_micro_batch=10**6)
    case = Case()
    trainer = Counting(
        str(tmp_path / "model"), reward_of(case), args, prompts(64), None, tiny_tokenizer(),
        rollout_func=InjectedRollouts(case),
    )  # fmt: skip
    trainer.train()
    trained = [tokens for has_grad, tokens in trainer.embedded if has_grad]
    expected = tokens_of(trainer.rollouts, shares)
    assert len(trainer.rollouts) == 2
    if shares and len(trained) > 2:  # each of several micro-batches of a prompt computes it
        assert expected < sum(trained) < tokens_of(trainer.rollouts, False)
    else:
        assert sum(trained) == expected
    padded = sum(r["prompt_mask"].numel() + r["completion_mask"].numel() for r in trainer.rollouts)
    assert sum(trained) < 0.6 * padded
