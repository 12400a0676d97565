"""Every update of ESGRPOTrainer has the gradient and the metrics of TRL's GRPOTrainer on the same rollout."""

import functools
from typing import Any

import pytest
import torch
from compared_runs import Run, assert_equal_runs, assert_identical_runs, gradient_errors, unequal_metrics
from equal_updates import TRL_PATH, VARIANTS, Case, fast_if, trained
from trl import GRPOTrainer


CENTRAL = {
    "dapo": Case(),
    "grpo with all masks": Case(
        {"loss_type": "grpo", "beta": 0.1, "mask_truncated_completions": True}, has_env_mask=True
    ),
    "two iterations": Case({"loss_type": "dr_grpo", "num_iterations": 2, "max_steps": 8}, model="qwen2_tied"),
    "sequences": Case({"importance_sampling_level": "sequence", "epsilon": 0.02, "epsilon_high": 0.03}),
}
LOSSES = {
    "grpo": Case({"loss_type": "grpo"}),
    "bnpo": Case({"loss_type": "bnpo"}),
    "dr_grpo": Case({"loss_type": "dr_grpo"}),
    "cispo": Case({"loss_type": "cispo", "epsilon_high": 1.2}),
    "sapo": Case({"loss_type": "sapo"}),
    "vespo": Case({"loss_type": "vespo"}),
    "luspo": Case({"loss_type": "luspo"}),
    "luspo of sequences": Case(
        {"loss_type": "luspo", "importance_sampling_level": "sequence", "epsilon": 0.02, "epsilon_high": 0.03}
    ),
    "bnpo with masks": Case({"loss_type": "bnpo", "mask_truncated_completions": True}, has_env_mask=True),
    "grpo of sequences": Case({"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.02}),
    "vespo with masks": Case({"loss_type": "vespo", "beta": 0.1}, has_env_mask=True),
    "luspo with masks": Case({"loss_type": "luspo", "mask_truncated_completions": True}, has_env_mask=True),
    "sapo with masks": Case({"loss_type": "sapo", "mask_truncated_completions": True}, has_env_mask=True),
    "dr_grpo with masks": Case({"loss_type": "dr_grpo", "beta": 0.1}, has_env_mask=True),
}
TERMS = {
    "kl": Case({"beta": 0.1}),
    "kl without correction": Case({"beta": 0.1, "use_bias_correction_kl": False}),
    "kl of sequences": Case({"beta": 0.1, "importance_sampling_level": "sequence", "epsilon": 0.02}),
    "peft": Case(adapts=True),
    "peft with kl": Case({"beta": 0.1}, adapts=True),
    "environment": Case(has_env_mask=True),
    "truncated": Case({"mask_truncated_completions": True}),
    "two-sided clip": Case({"delta": 1.35}),
    "off policy": Case({"off_policy_mask_threshold": 0.01}),
    "off policy by the sampler": Case({"off_policy_mask_threshold": 2.1}, has_logprobs=True),
    "logprobs that nothing reads": Case(has_logprobs=True),
    "tokens of high entropy": Case({"top_entropy_quantile": 0.5}),
    "entropy coefficient": Case({"entropy_coef": 0.5}),
    # 0.6: the first tokens of one prompt have equal entropies, and at 0.5 two of them lie on both sides of the quantile
    "both": Case({"top_entropy_quantile": 0.6, "entropy_coef": 0.5}, has_env_mask=True),
    "adaptive entropy": Case({"use_adaptive_entropy": True, "entropy_target": 4.2, "entropy_coef_delta": 0.2}),
    "scaled by the batch": Case({"scale_rewards": "batch"}),
    "not scaled": Case({"scale_rewards": "none"}),
    "without some rewards": Case(leaves_unscored=True),
    "uniform groups": Case(signs_by_prompt=True),
    "temperature": Case({"temperature": 0.7}),
}
SHAPES = {
    "equally long": Case(lengths="equal"),
    "one token each": Case(lengths="one token"),
    "one long": Case({"loss_type": "grpo"}, lengths="one long"),
    "multiples of 8": Case({"pad_to_multiple_of": 8}),
    "mixtral": Case(model="mixtral"),
    "mixtral with masks": Case({"mask_truncated_completions": True, "loss_type": "grpo"}, "mixtral", has_env_mask=True),
    "qwen3_moe": Case({"beta": 0.1}, "qwen3_moe"),
    "qwen3_moe without its loss": Case(model="qwen3_moe_without_loss"),
    "one long with masks": Case({"loss_type": "grpo"}, lengths="one long", has_env_mask=True),
    "learned positions": Case(model="gpt2"),
    "learned positions with kl": Case({"beta": 0.1}, "gpt2"),
    "window": Case(model="mistral_window"),
    "window in one layer": Case(model="qwen2_window"),
    "eager": Case({"model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"}}),
    "checkpointed": Case({"gradient_checkpointing": True}),
    "evaluated inside a rollout": Case({"eval_strategy": "steps", "eval_steps": 1}, evaluates=True),
    "logged after three": Case({"logging_steps": 3}),
}


def geometry(per_update: int, per_rollout: int, updates: int, completions: int = 4, **changes: Any) -> Case:
    return Case(
        {
            "per_device_train_batch_size": completions,
            "gradient_accumulation_steps": per_update,
            "steps_per_generation": per_rollout,
            "max_steps": updates,
            **changes,
        }
    )


GEOMETRIES = {
    "one micro-batch per update": geometry(1, 4, 8, learning_rate=0.03),
    "micro-batches of two": geometry(2, 8, 8, completions=2, learning_rate=0.03),  # with more, rounding grows
    "micro-batches of two, grpo": geometry(4, 8, 4, completions=2, loss_type="grpo"),
    "one update per rollout": geometry(4, 4, 3),
    "one update per rollout, bnpo": geometry(4, 4, 3, loss_type="bnpo"),
    "one update per two rollouts": geometry(8, 4, 2),
    "one update per two rollouts, grpo": geometry(8, 4, 2, loss_type="grpo"),
    "updates across rollouts": geometry(4, 6, 6),
    "updates across rollouts, grpo": geometry(6, 4, 4, loss_type="grpo"),
    "a last update inside a rollout": geometry(2, 8, 5),
    "iterations of one update": geometry(4, 4, 6, num_iterations=2),
    "iterations in an update": geometry(8, 4, 3, num_iterations=2),
    "a short last update": Case(
        {"gradient_accumulation_steps": 3, "steps_per_generation": 4, "max_steps": -1, "num_train_epochs": 1},
        prompts=16,
    ),
}
OTHERS = {**LOSSES, **TERMS, **SHAPES, **GEOMETRIES}
CASES = {**CENTRAL, **OTHERS}


@functools.cache
def by_trl(name: str) -> Run:
    return trained(CASES[name], GRPOTrainer)


@pytest.mark.parametrize("name", fast_if(LOSSES, OTHERS))
def test_as_trl(name):
    assert_equal_runs(by_trl(name), trained(CASES[name]))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("name", CENTRAL)
def test_every_way_is_as_trl(name, variant):
    assert_equal_runs(by_trl(name), trained(CASES[name], **variant))


@pytest.mark.parametrize("name", fast_if(CENTRAL, [*CENTRAL, *LOSSES, *GEOMETRIES, "kl", "peft with kl", "mixtral"]))
def test_trls_path_is_trl_bit_for_bit(name):
    assert_identical_runs(by_trl(name), trained(CASES[name], **TRL_PATH))


@pytest.mark.parametrize("name", ["dapo", "grpo", "bnpo", "luspo", "two iterations", "sequences", "kl"])
def test_the_updates_clip(name):
    """The cases are worth something: ratios have left the bounds."""
    ratios = [record.get("clip_ratio/region_mean", 0.0) for record in by_trl(name).logged]
    assert 0.1 < max(ratios) < 0.9


# --- what the comparison sees -----------------------------------------------------------------------------------------


class LosesAToken(GRPOTrainer):
    """Leaves one token of each micro-batch out of the loss."""

    def _compute_loss(self, model, inputs):
        mask = inputs["completion_mask"].clone()
        longest = mask.sum(dim=1).argmax()
        mask[longest, mask[longest].sum() - 1] = 0
        return super()._compute_loss(model, {**inputs, "completion_mask": mask})


class Rescales(GRPOTrainer):
    """Scales the loss by 1.0001."""

    def _compute_loss(self, model, inputs):
        return 1.0001 * super()._compute_loss(model, inputs)


class TakesOldFromNow(GRPOTrainer):
    """Forgets the log-probabilities from before the first update."""

    def _compute_loss(self, model, inputs):
        return super()._compute_loss(model, {**inputs, "old_per_token_logps": None})


class Trims(GRPOTrainer):
    """Trims each micro-batch to its longest completion, which changes nothing."""

    def _compute_loss(self, model, inputs):
        longest = int(inputs["completion_mask"].sum(dim=1).max().clamp(min=1))
        cut = {"completion_ids", "completion_mask", "old_per_token_logps", "ref_per_token_logps", "tool_mask"}
        return super()._compute_loss(model, {k: v[:, :longest] if k in cut else v for k, v in inputs.items()})


@pytest.mark.parametrize("trainer_class", [LosesAToken, Rescales, TakesOldFromNow])
def test_a_fault_is_seen(trainer_class):
    expected, found = by_trl("dapo"), trained(CASES["dapo"], trainer_class)
    assert max(gradient_errors(expected, found)) > 5e-5
    assert unequal_metrics(expected, found) != []
    with pytest.raises(AssertionError):
        assert_equal_runs(expected, found)


def test_rounding_is_not_seen():
    expected, found = by_trl("dapo"), trained(CASES["dapo"], Trims)
    assert_equal_runs(expected, found)
    assert not all(torch.equal(value, found.weights[name]) for name, value in expected.weights.items())
