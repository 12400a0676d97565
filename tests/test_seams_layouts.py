"""What layouts and plans of micro-batches lean on: TRL's shuffle and head, and transformers' attention."""

import pytest
import torch
from layouts import tiny
from seam_runs import Probe, pluses, probe
from tiny_models import tiny_model, tiny_tokenizer
from transformers import AttentionInterface, ProcessorMixin
from transformers.utils.generic import is_flash_attention_requested
from trl import GRPOConfig, GRPOTrainer

from es_trl.lab import countdown_dataset
from es_trl.micro_batches import segments
from es_trl.micro_batches.layout import HEAD_OUTPUTS
from es_trl.micro_batches.rows import next_shuffle


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two rollouts of 4 micro-batches each, in updates of 3, 1, 3 and 1 micro-batches."""

    class Peeking(Probe):
        def __init__(self, *args, **kwargs):
            self.peeked, self.found, self.per_update = [], [], []
            super().__init__(*args, **kwargs)

        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            batch["row"] = torch.arange(len(inputs))
            self.peeked.append(next_shuffle(len(inputs)))
            return batch

        def _prepare_inputs(self, inputs):
            batch = super()._prepare_inputs(inputs)
            if self._step % 4 == 0:
                self.found.append(torch.cat([each["row"] for each in self._buffered_inputs]))
            return batch

        def _compute_loss(self, *args, **kwargs):
            self.per_update.append(self.current_gradient_accumulation_steps)
            return super()._compute_loss(*args, **kwargs)

    changes = {"gradient_accumulation_steps": 3, "steps_per_generation": 4, "max_steps": -1, "num_train_epochs": 1}
    trainer = probe(tmp_path_factory.mktemp("run"), Peeking, dataset=countdown_dataset(8, seed=1), **changes)
    trainer.train()
    trainer.model.train()
    return trainer


@pytest.mark.seam("_prepare_inputs", "_buffered_inputs")
def test_the_shuffle_draws_the_next_random_numbers(run):
    assert len(run.found) == 2
    for peeked, found in zip(run.peeked, run.found, strict=True):
        assert torch.equal(peeked, found) and found.tolist() != list(range(16))


def test_a_short_update_knows_its_micro_batches(run):
    assert run.per_update == [3] * 6 + [2] * 2


@pytest.mark.seam("_compute_loss", "_metrics")
def test_a_single_column_is_one_value_per_completion_also_where_it_is_masked(run, monkeypatch):
    """So a micro-batch keeps two columns at least: the second one makes a mask count."""
    monkeypatch.setattr(run, "beta", 0.1)
    monkeypatch.setattr(run.args, "use_bias_correction_kl", False)
    found = []
    for width in (1, 2):
        inputs = dict(run._buffered_inputs[0])
        inputs["completion_mask"] = torch.tensor([[1, 0], [0, 0], [1, 0], [1, 0]])[:, :width]
        inputs |= {
            name: inputs[name][:, :width] for name in ("completion_ids", "old_per_token_logps") if name in inputs
        }
        ids, mask = (torch.cat([inputs[f"prompt_{k}"], inputs[f"completion_{k}"]], 1) for k in ("ids", "mask"))
        with torch.no_grad():
            logps = run._get_per_token_logps_and_entropies(run.model, ids, mask, width)[0]
        far = torch.tensor([[0.0], [2.0], [0.0], [0.0]]).expand(4, width)
        inputs["ref_per_token_logps"] = logps - far
        run._compute_loss(run.model, inputs)
        found.append(run._metrics["train"]["kl"][-1])
    # exp(-2) + 2 - 1 of the masked completion is a quarter of the mean of four, and no part of that of three
    assert found == pytest.approx([(torch.tensor(-2.0).exp().item() + 1.0) / 4, 0.0], abs=1e-5)


def test_a_rollout_is_padded_to_a_multiple(run, tmp_path):
    assert run.pad_to_multiple_of is None
    trainer = probe(tmp_path, max_steps=1, pad_to_multiple_of=8)
    trainer.train()
    (made,) = trainer.calls("_generate_and_score_completions")
    widths = [made.result[name].shape[1] for name in ("prompt_ids", "completion_ids")]
    assert trainer.pad_to_multiple_of == 8 and all(width % 8 == 0 for width in widths)


def trainer_of(kind, folder, processing=None, **changes):
    args = GRPOConfig(str(folder), report_to=[], use_cpu=True, bf16=False, **changes)
    model, tokenizer = tiny_model(kind), processing or tiny_tokenizer()
    model.config.image_token_id = 2  # which TRL does not generate with a processor
    return GRPOTrainer(model, pluses, args, countdown_dataset(8, seed=1), processing_class=tokenizer)


def test_the_loss_of_a_router_is_known(tmp_path):
    assert trainer_of("mixtral", tmp_path).aux_loss_enabled is True
    assert trainer_of("mixtral", tmp_path, router_aux_loss_coef=0.0).aux_loss_enabled is False
    assert trainer_of("llama", tmp_path).aux_loss_enabled is False


@pytest.mark.seam("_is_vlm")
def test_a_model_that_reads_images_has_a_processor(tmp_path):
    class Processor(ProcessorMixin):
        def __init__(self, tokenizer):
            super().__init__(tokenizer)

    assert trainer_of("llama", tmp_path)._is_vlm is False
    assert trainer_of("llama", tmp_path, Processor(tiny_tokenizer()))._is_vlm is True


# --- TRL's head -------------------------------------------------------------------------------------------------------


def test_the_head_takes_shifted_labels_and_its_fields_can_be_set():
    model = tiny("llama")
    ids = torch.randint(3, 90, (2, 7), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :3] = -100
    by_labels = model(input_ids=ids, labels=labels, fused_lm_head=True)
    shifted = torch.cat([labels[:, 1:], torch.full((2, 1), -100)], dim=1)
    by_shift = model(input_ids=ids, shift_labels=shifted, fused_lm_head=True)
    assert by_labels.log_probs.shape == (2, 6) and by_shift.log_probs.shape == (2, 7)
    for name in HEAD_OUTPUTS:
        first, second = getattr(by_labels, name), getattr(by_shift, name)
        assert (first is None) == (second is None) == (name == "log_sum_sq_probs")
        if first is not None:
            assert torch.allclose(first, second[:, :6], atol=1e-6) and (second[:, 6] == 0.0).all()
            setattr(by_shift, name, first)
            assert getattr(by_shift, name) is first
    plain = model(input_ids=ids).logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
    assert torch.allclose(by_labels.log_probs[:, 2:], plain[:, 2:], atol=1e-5)


def test_the_head_reads_the_last_hidden_state_of_the_backbone():
    model = tiny("llama")
    ids = torch.arange(3, 10).unsqueeze(0)

    def last_three(module, args, output):
        output.last_hidden_state = output.last_hidden_state[:, -3:]
        return output

    expected = model(input_ids=ids, shift_labels=ids, fused_lm_head=True).log_probs
    handle = model.base_model.register_forward_hook(last_three)
    found = model(input_ids=ids, shift_labels=ids[:, -3:], fused_lm_head=True).log_probs
    handle.remove()
    assert found.shape == (1, 3) and torch.allclose(found, expected[:, -3:], atol=1e-6)


@pytest.mark.seam("_get_per_token_logps_and_entropies")
def test_columns_of_the_output_are_read_from_the_right(run):
    inputs = run._buffered_inputs[0]
    width = inputs["completion_ids"].shape[1]
    ids, mask = (torch.cat([inputs[f"prompt_{k}"], inputs[f"completion_{k}"]], 1) for k in ("ids", "mask"))

    def model(**given):
        labels = given["labels"]
        assert given["fused_lm_head"] is True and (labels[:, :-width] == -100).all()
        assert torch.equal(labels[:, -width:] != -100, inputs["completion_mask"].bool())
        output = run.model(**given)
        output.log_probs = torch.full((len(labels), width), 5.0)
        output.entropy = torch.full((len(labels), width), 6.0)
        return output

    logps, entropies, _ = run._get_per_token_logps_and_entropies(model, ids, mask, width, compute_entropy=True)
    assert logps.shape == (4, width) and (logps == 5.0).all() and (entropies == 6.0).all()


# --- transformers' attention ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "window"), [("llama", None), ("gpt2", None), ("mistral", 6), ("gemma2", 6)])
def test_attention_gets_the_mask_and_what_a_model_does_not_know(kind, window, monkeypatch):
    model, given = tiny(kind), []
    own = segments._PLAIN

    def spy(module, query, key, value, attention_mask, **kwargs):
        given.append((query.shape, attention_mask, kwargs))
        return own(module, query, key, value, attention_mask, **kwargs)

    monkeypatch.setattr(segments, "_PLAIN", spy)
    assert AttentionInterface()["sdpa"] is segments.attention
    mask, ids = torch.ones(1, 1, 5, 5, dtype=torch.bool).tril(), torch.arange(3, 8).unsqueeze(0)
    model.base_model(input_ids=ids, attention_mask=mask, position_ids=ids, mark="here", use_cache=False)
    assert len(given) == 2 and window in {kwargs.get("sliding_window") for _, _, kwargs in given}
    for shape, found, kwargs in given:
        assert found is mask and kwargs["mark"] == "here"
        assert shape[0] == 1 and shape[2] == 5


def test_names_of_flash_attention():
    config = tiny("llama").config
    for name in ("flash_attention_2", "flash_attention_3", "kernels-community/flash-attn2", "sdpa", "eager"):
        config._attn_implementation = name
        assert is_flash_attention_requested(config) == ("flash" in name)
    assert tiny("jamba")._is_stateful and not tiny("llama")._is_stateful
