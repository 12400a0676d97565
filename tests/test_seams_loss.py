"""TRL's loss: what actuators move in it, by the formulas, on micro-batches of TRL's own trainer."""

import math

import pytest
import torch
import trl.trainer.utils
from seam_runs import Probe, probe


POLICY = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo", "sapo", "vespo")
BY_ROLLOUT = ("dapo", "cispo", "vespo")  # whose loss is divided by the tokens of the rollout


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    class Late(Probe):
        late = None

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            scored = super()._get_per_token_logps_and_entropies(*args, **kwargs)
            if self.late is not None:
                self.late["advantages"] = 3.0 * self.late["advantages"]
            return scored

    trainer = probe(tmp_path_factory.mktemp("run"), Late, max_steps=4)
    trainer.train()
    trainer.model.train()
    return trainer


@pytest.fixture
def loss(trainer, monkeypatch):
    """A function that gives TRL's loss of a micro-batch whose ratios are 2, under changed attributes."""

    def compute(loss_type="dapo", late=False, args=None, **attributes):
        with monkeypatch.context() as patch:
            for name, value in {"loss_type": loss_type, **attributes}.items():
                patch.setattr(trainer, name, value)
            for name, value in (args or {}).items():
                patch.setattr(trainer.args, name, value)
            inputs = micro_batch(trainer)
            patch.setattr(trainer, "late", inputs if late else None)
            return trainer._compute_loss(trainer.model, inputs).item()

    return compute


def micro_batch(trainer):
    inputs = dict(trainer._buffered_inputs[0])
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    with torch.no_grad():
        logps, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, attention, inputs["completion_ids"].shape[1]
        )
    inputs["old_per_token_logps"] = logps - math.log(2.0)
    inputs["ref_per_token_logps"] = logps - 1.0
    inputs["advantages"] = torch.tensor([1.0, -1.0, 0.5, 2.0])
    return inputs


def token_sum(trainer, positive, negative):
    """The sum over tokens of the advantages, each sign times its factor, over the tokens of an update."""
    inputs = micro_batch(trainer)
    advantages, lengths = inputs["advantages"], inputs["completion_mask"].sum(1)
    total = (torch.where(advantages > 0, positive, negative) * advantages * lengths).sum()
    return -total.item() / (inputs["num_items_in_batch"].item() / 4)


@pytest.mark.seam("_compute_loss")
def test_clip_bounds_are_read_in_the_loss(trainer, loss):
    for low, high in ((0.2, 0.28), (0.1, 0.7)):
        # the ratio of 2 is above every upper bound, which binds where the advantage is positive
        assert loss(epsilon_low=low, epsilon_high=high) == pytest.approx(token_sum(trainer, 1.0 + high, 2.0), rel=1e-5)
        metrics = trainer._metrics["train"]
        inputs = micro_batch(trainer)
        lengths = inputs["completion_mask"].sum(1).float()
        share = (lengths * (inputs["advantages"] > 0)).sum() / lengths.sum()
        assert metrics["clip_ratio/high_mean"][-1] == pytest.approx(share.item())
    before = len(trainer._metrics["train"]["cispo_clip_ratio"])
    loss("cispo", epsilon_high=1.5)
    loss("cispo", epsilon_high=2.5)
    assert trainer._metrics["train"]["cispo_clip_ratio"][before:] == pytest.approx([share.item(), 0.0])
    assert loss("cispo", epsilon_high=1.5) == pytest.approx(0.75 * loss("cispo", epsilon_high=2.5), rel=1e-5)


@pytest.mark.seam("_compute_loss")
def test_the_outer_clip_bounds_what_the_trust_region_leaves_open(trainer, loss):
    for delta in (1.5, 50.0):  # of the ratio of 2, where the advantage is negative
        expected = token_sum(trainer, 1.28, min(delta, 2.0))
        assert loss(epsilon_high=0.28, args={"delta": delta}) == pytest.approx(expected, rel=1e-5)
    assert loss(epsilon_high=1.5, args={"delta": 50.0}) == pytest.approx(token_sum(trainer, 2.0, 2.0), rel=1e-5)


@pytest.mark.seam("_compute_loss")
def test_trl_reads_bounds_per_token(trainer, loss):
    inputs = micro_batch(trainer)
    mask = inputs["completion_mask"]
    low, high = torch.full(mask.shape, 0.2), torch.full(mask.shape, 0.28)
    same = loss(epsilon_low=0.2, epsilon_high=0.28)
    assert loss(epsilon_low=low, epsilon_high=high) == pytest.approx(same)
    high[:, 0] = 2.0  # above the ratios, which are 2 everywhere
    assert loss(epsilon_low=low, epsilon_high=high) < same
    share = (mask[:, 1:] * (inputs["advantages"] > 0)[:, None]).sum() / mask.sum()
    assert trainer._metrics["train"]["clip_ratio/high_mean"][-1] == pytest.approx(share.item())


@pytest.mark.seam("_compute_loss")
def test_the_coefficient_of_the_penalty_is_read_in_the_loss(trainer, loss):
    inputs = micro_batch(trainer)
    penalty = math.exp(-1.0) + 1.0 - 1.0  # exp(d) - d - 1 of a reference that is 1 nat below
    share = inputs["completion_mask"].sum().item() / (inputs["num_items_in_batch"].item() / 4)
    for beta in (0.1, 0.3):
        plain = {"use_bias_correction_kl": False}  # which multiplies it by the ratio
        assert loss(beta=beta, args=plain) - loss(beta=0.0) == pytest.approx(beta * penalty * share, rel=1e-4)


@pytest.mark.seam("_get_per_token_logps_and_entropies", "_compute_loss")
def test_advantages_are_read_after_the_log_probabilities(loss):
    assert loss(late=True) == pytest.approx(3.0 * loss(), rel=1e-5)


@pytest.mark.seam("_compute_loss")
def test_advantages_may_be_given_per_token(trainer):
    inputs = micro_batch(trainer)
    whole = trainer._compute_loss(trainer.model, inputs).item()
    inputs["advantages"] = inputs["advantages"].unsqueeze(1).expand_as(inputs["completion_mask"]).clone()
    assert trainer._compute_loss(trainer.model, inputs).item() == pytest.approx(whole, rel=1e-6)
    inputs["advantages"][:, 0] += 1.0
    assert abs(trainer._compute_loss(trainer.model, inputs).item() - whole) > 1e-3


@pytest.mark.seam("_compute_loss")
@pytest.mark.parametrize("loss_type", POLICY)
def test_sizes_in_the_loss(loss_type, loss):
    plain = loss(loss_type)
    # the longest completion scales dr_grpo alone
    longer = loss(loss_type, max_completion_length=24)
    assert longer == pytest.approx(plain / 2 if loss_type == "dr_grpo" else plain, rel=1e-5)
    # of the micro-batches of an update a loss knows their number, or their share of the rollout
    more = loss(loss_type, current_gradient_accumulation_steps=2)
    assert more == pytest.approx(plain / 2, rel=1e-5)
    both = loss(loss_type, current_gradient_accumulation_steps=2, args={"steps_per_generation": 8})
    assert both == pytest.approx(plain if loss_type in BY_ROLLOUT else plain / 2, rel=1e-5)


@pytest.mark.seam("_last_world_entropy")
def test_trls_adaptive_coefficient_reads_its_target_in_every_update(tmp_path):
    trainer = probe(tmp_path, max_steps=1, use_adaptive_entropy=True, entropy_target=0.01, entropy_coef_delta=0.125)
    trainer.train()
    trainer.model.train()
    inputs = trainer._buffered_inputs[0]
    coefficients, found = [trainer.entropy_coef], []
    for target in (9.0, 9.0, 0.001):
        trainer.args.entropy_target = target
        trainer._compute_loss(trainer.model, inputs)
        coefficients.append(trainer.entropy_coef)
        found.append(trainer._last_world_entropy)
    assert [b - a for a, b in zip(coefficients, coefficients[1:], strict=False)] == pytest.approx(
        [0.125, 0.125, -0.125]
    )
    assert found == [found[0]] * 3 and 0.1 < found[0] < 3.0


@pytest.mark.seam("_ChunkedLogProbFunction")
def test_the_fused_head_can_be_replaced(trainer, monkeypatch):
    given, function = [], trl.trainer.utils._ChunkedLogProbFunction

    class Marked:
        @staticmethod
        def apply(*args):
            given.append(args)
            logps, entropy, *_ = function.apply(*args)
            return logps, entropy, torch.full_like(logps, 7.0), None, None

    monkeypatch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Marked)
    inputs = trainer._buffered_inputs[0]
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    outputs = trainer.model(input_ids=ids, labels=ids, fused_lm_head=True, attention_mask=torch.ones_like(ids))
    # the third result has the shape of the others, and is one that the trainer does not read
    assert outputs.log_sum_sq_probs.shape == outputs.log_probs.shape == outputs.entropy.shape
    assert (outputs.log_sum_sq_probs == 7.0).all()
    ((hidden, weight, bias, targets, temperature, chunk, softcap, logit_scale, wanted),) = given
    assert weight is trainer.model.lm_head.weight and bias is None and len(hidden) == len(targets)
    assert (
        (temperature, softcap, logit_scale) == (1.0, None, 1.0) and chunk > 0 and {"log_probs", "entropy"} <= {*wanted}
    )
    with trl.trainer.utils.maybe_gather_lm_head_ctx(weight, bias):
        assert weight.shape[0] == trainer.model.config.vocab_size


@pytest.mark.seam("_get_per_token_logps_and_entropies")
def test_a_pass_may_be_made_with_another_callable_than_the_model(trainer):
    inputs = trainer._buffered_inputs[0]
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    seen = []

    def model(**given):
        seen.append(given)
        return trainer.model(**given)

    length = inputs["completion_ids"].shape[1]
    with torch.no_grad():
        own, _, _ = trainer._get_per_token_logps_and_entropies(model, ids, attention, length)
        logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, attention, length, compute_entropy=True
        )
    assert seen and seen[0]["fused_lm_head"] is True and torch.equal(own, logps)
    assert entropies.shape == logps.shape and entropies.min() >= 0.0
