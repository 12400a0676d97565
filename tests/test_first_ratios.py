"""In bf16, the first update of a rollout has the log-probabilities of the pass before it, bit for bit."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from equal_updates import Case, trained

from es_trl import ESGRPOTrainer


BF16 = {"model_init_kwargs": {"dtype": "bfloat16"}, "max_steps": 2, "learning_rate": 0.01}
EAGER = {"model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": "eager"}}
LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "packed": ({}, {"shared_prefixes": False}),
    "shared": ({}, {"shared_prefixes": True}),
    "trimmed": (EAGER, {}),
}


class Compares(ESGRPOTrainer):
    """Keeps how far the log-probabilities of each micro-batch are from those before the first update."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        seen.clear()
        self.model.model.layers[-1].mlp.up_proj.register_forward_pre_hook(self._sees)

    def _sees(self, module: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
        if self.state.global_step == 0:
            seen.append(args[0].shape[:2].numel())

    def _actuated_loss(self, model: Any, inputs: dict[str, Any], *others: Any) -> Any:
        loss, batch = super()._actuated_loss(model, inputs, *others)
        if torch.is_grad_enabled():
            mask = inputs["completion_mask"].bool()
            difference = (batch.logps.detach() - inputs["old_per_token_logps"]).abs()[mask]
            differences[self.state.global_step].append(difference)
        return loss, batch


class ScoresInAnotherLayout(Compares):
    """Computes the log-probabilities before the first update with other shapes."""

    def _forward(self, layout: str | None, clamp: float) -> Any:
        forward = super()._forward(layout, clamp)
        return forward if torch.is_grad_enabled() else replace(forward, layout="trimmed")


seen: list[int] = []  # tokens of the last MLP in each forward pass up to the first update
differences: list[list[torch.Tensor]] = [[], []]


def in_both_updates(trainer_class: type[ESGRPOTrainer], changes: dict[str, Any], **own: Any) -> list[torch.Tensor]:
    """Return the differences of all tokens in the first update of a rollout, and in the second one."""
    differences[:] = [], []
    trained(Case({**BF16, **changes}, model="qwen2_tied"), trainer_class, **own)
    return [torch.cat(each) for each in differences]


@pytest.mark.parametrize("more", [{}, {"max_tokens_per_micro_batch": 64}], ids=["default", "small"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_ratio_is_one(layout: str, more: dict[str, int]) -> None:
    changes, own = LAYOUTS[layout]
    first, second = in_both_updates(Compares, changes, **own, **more)
    assert len(first) > 40 and first.max() == 0.0
    assert second.max() > 0.01


@pytest.mark.parametrize("checkpoints", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_last_mlp_has_the_same_shapes_in_both_passes(layout: str, checkpoints: bool) -> None:
    """On a GPU, the rounding of a product depends on its shape."""
    changes, own = LAYOUTS[layout]
    changes = {**changes, "gradient_checkpointing": checkpoints}
    first, _ = in_both_updates(Compares, changes, **own, max_tokens_per_micro_batch=64)
    assert first.max() == 0.0
    passes = len(differences[0])  # of the first update
    times = 1 + checkpoints  # a checkpointed layer is computed again
    scored, updated = seen[:passes], seen[-passes * times :: times]
    assert passes > 1 and updated == scored


@pytest.mark.parametrize("shared", [False, True])
def test_with_other_shapes_it_is_not_one(shared: bool) -> None:
    first, _ = in_both_updates(ScoresInAnotherLayout, {}, shared_prefixes=shared)
    assert first.gt(0.0).float().mean() > 0.2 and 0.005 < first.max() < 0.1
