"""How TRL makes a rollout: what es_trl overrides and reads of it, on a run of TRL's own trainer."""

from collections import defaultdict, deque

import pytest
import torch
from seam_runs import Probe, normalized, probe
from transformers import DynamicCache

from es_trl.lab import countdown_dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two rollouts of 4 prompts x 4 completions, 4 updates each; its batches say which row is which."""

    class Numbered(Probe):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            batch["row"] = torch.arange(len(inputs))
            return batch

    trainer = probe(tmp_path_factory.mktemp("run"), Numbered, epsilon_high=None)
    trainer.train()
    return trainer


@pytest.mark.seam("_step", "training_step", "_prepare_inputs", "_buffered_inputs")
def test_a_rollout_is_made_where_the_steps_say_so(run):
    steps = run.calls("training_step")
    assert [call.step for call in steps] == [call.update for call in steps] == list(range(8)) and run._step == 8
    assert [bool(call.each("_generate_and_score_completions")) for call in steps] == [True, *[False] * 3] * 2
    batches = [call.result for call in run.calls("_prepare_inputs")]
    # the latest rollout stays where a resume puts it
    assert all(batch is own for batch, own in zip(batches[4:], run._buffered_inputs, strict=True))
    for call in steps:
        assert [inner.name for inner in call.inside] == ["_prepare_inputs", "_compute_loss"]


@pytest.mark.seam("_generate_and_score_completions", "_compute_loss")
def test_a_rollout_is_cut_into_its_micro_batches(run):
    rollouts = [call.result for call in run.calls("_generate_and_score_completions")]
    losses = [call.args[1] for call in run.calls("_compute_loss")]
    for rollout, parts in zip(rollouts, (losses[:4], losses[4:]), strict=True):
        assert all(len(rollout[name]) == 16 for name in ("prompt_ids", "prompt_mask", "completion_ids", "advantages"))
        assert rollout["num_items_in_batch"] == rollout["completion_mask"].sum()
        assert [len(part["row"]) for part in parts] == [4] * 4
        rows = torch.cat([part["row"] for part in parts])
        # what is added to the batch is shuffled with the rest of it
        assert sorted(rows.tolist()) == list(range(16)) != rows.tolist()
        for name in ("completion_ids", "completion_mask", "advantages", "old_per_token_logps"):
            assert torch.equal(torch.cat([part[name] for part in parts]), rollout[name][rows])
        assert {part["num_items_in_batch"].item() for part in parts} == {rollout["num_items_in_batch"].item()}


@pytest.mark.seam("_generate", "_calculate_rewards")
def test_what_is_generated_and_rewarded_can_be_replaced(run):
    for made in run.calls("_generate_and_score_completions"):
        (generated,), (rewarded,) = made.each("_generate"), made.each("_calculate_rewards")
        rows = made.args[0]
        prompts = [row["prompt"] for row in rows]
        assert all(len(set(prompts[i : i + 4])) == 1 for i in range(0, 16, 4)) and len(set(prompts)) == 4
        prompt_ids, completion_ids, tool_mask, completions, logps, extra, images, tool_images = generated.result
        assert len(prompt_ids) == len(completion_ids) == len(completions) == 16
        assert (tool_mask, logps, dict(extra), images) == (None, None, {}, None)
        assert [ids[ids >= 0][: len(own)].tolist() for ids, own in zip(made.result["completion_ids"], completion_ids,
                                                                        strict=True)] == completion_ids  # fmt: skip
        # the very lists go on to the rewards, so that an entry of theirs is replaced in its place
        assert rewarded.args[0] is rows and rewarded.args[1] is generated.args[0]
        assert rewarded.args[2] is completions and rewarded.args[3] is completion_ids
        assert rewarded.result.shape == (16, 1)
        rewards = torch.tensor([text.count("+") / max(len(text), 1) for text in completions])
        assert torch.allclose(rewarded.result[:, 0], rewards)
        assert torch.allclose(made.result["advantages"], normalized(rewards, 4), atol=5e-3)


@pytest.mark.seam("_generate_single_turn")
def test_a_generation_begins_with_an_empty_cache(tmp_path):
    passes = []

    class Noting(Probe):
        def _generate_single_turn(self, *args, **kwargs):
            def note(backbone, args, kwargs):
                cache = kwargs["past_key_values"]
                shapes = [tuple(kwargs[name].shape) for name in ("input_ids", "attention_mask")]
                passes.append((type(cache), cache.get_seq_length(), *shapes))

            handle = self.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
            try:
                return super()._generate_single_turn(*args, **kwargs)
            finally:
                handle.remove()

    probe(tmp_path, Noting, max_steps=1).train()
    width = passes[0][2][1]
    assert len(passes) > 2 and passes[0] == (DynamicCache, 0, (16, width), (16, width))
    expected = [(DynamicCache, width + n, (16, 1), (16, width + n + 1)) for n in range(len(passes) - 1)]
    assert passes[1:] == expected


@pytest.mark.seam("_get_per_token_logps_and_entropies")
def test_the_first_pass_of_a_rollout_scores_it(run):
    for made in run.calls("_generate_and_score_completions"):
        assert [call.name for call in made.inside] == [
            "_generate", "_get_per_token_logps_and_entropies", "_calculate_rewards"
        ]  # fmt: skip
        (scored,) = made.each("_get_per_token_logps_and_entropies")
        assert not scored.has_grad and scored.args[0] is run.model and not scored.kwargs.get("compute_entropy")
        logps, entropies, _ = scored.result
        assert entropies is None and torch.equal(made.result["old_per_token_logps"], logps)
    for loss in run.calls("_compute_loss"):
        (scored,) = loss.each("_get_per_token_logps_and_entropies")
        assert scored.has_grad and scored.kwargs["compute_entropy"] is True
        logps, entropies, _ = scored.result
        assert logps.shape == entropies.shape == loss.args[1]["completion_ids"].shape and entropies.requires_grad


@pytest.mark.seam("_get_per_token_logps_and_entropies")
def test_no_pass_where_the_only_update_makes_it(tmp_path):
    trainer = probe(tmp_path, gradient_accumulation_steps=4, max_steps=1)
    trainer.train()
    (made,) = trainer.calls("_generate_and_score_completions")
    assert [call.name for call in made.inside] == ["_generate", "_calculate_rewards"]
    assert "old_per_token_logps" not in made.result


@pytest.mark.seam("_metrics")
def test_what_is_measured_is_collected_until_it_is_logged(tmp_path):
    logged = []

    class Copying(Probe):
        def log(self, *args):
            logged.append({name: list(values) for name, values in self._metrics["train"].items()})
            super().log(*args)

    trainer = probe(tmp_path, Copying, gradient_accumulation_steps=2, max_steps=4, logging_steps=4)
    trainer.train()
    metrics = logged[0]
    made = [call.result["completion_mask"] for call in trainer.calls("_generate_and_score_completions")]
    lengths = [mask.sum(1).float().mean().item() for mask in made]
    rewards = [call.result.mean().item() for call in trainer.calls("_calculate_rewards")]
    assert len(made) == 2 and not trainer._metrics["train"]
    assert metrics["completions/mean_length"] == pytest.approx(lengths) and metrics["reward"] == pytest.approx(rewards)
    assert len(metrics["clip_ratio/high_mean"]) == 8 and len(metrics["step_time"]) == 4  # micro-batches, updates
    assert min(metrics["step_time"]) > 0.0


@pytest.mark.seam("_logs", "_pending_extra_logs")
def test_columns_of_a_reward_wait_for_the_log(tmp_path):
    seen = []

    class Doubling(Probe):
        def _calculate_rewards(self, *args):
            rewards = super()._calculate_rewards(*args)
            seen.append(list(self._pending_extra_logs["pluses"]))
            self._pending_extra_logs["pluses"] = [2 * value for value in seen[-1]]
            return rewards

    trainer = probe(tmp_path, Doubling, max_steps=4)
    trainer.train()
    ((rewards,),) = [[call.result[:, 0].tolist()] for call in trainer.calls("_calculate_rewards")]
    assert seen[0] == pytest.approx(rewards) and not trainer._pending_extra_logs
    logs = trainer._logs
    assert list(logs["extra"]["pluses"]) == [2 * value for value in seen[0]]
    assert list(logs["rewards"]["pluses"]) == pytest.approx(rewards) and len(logs["prompt"]) == 16
    columns = [logs["prompt"], logs["completion"], logs["advantages"], logs["rewards"]["pluses"]]
    assert all(isinstance(column, deque) and column.maxlen == 16 for column in columns)
    assert isinstance(logs["rewards"], defaultdict) and logs["rewards"]["another"].maxlen == 16


@pytest.mark.seam("_logs")
def test_sizes_can_change_between_rollouts(tmp_path):
    trainer = probe(tmp_path, max_steps=4)
    trainer.train()
    assert trainer.calls("_generate_and_score_completions")[0].result["completion_ids"].shape[1] > 3
    trainer.num_generations = 8
    trainer.generation_config.max_new_tokens = trainer.generation_kwargs["max_new_tokens"] = 3
    trainer._logs["prompt"] = deque(maxlen=32)
    rows = [{"prompt": prompt} for prompt in countdown_dataset(4, seed=2)["prompt"] for _ in range(8)]
    trainer.model.train()
    batch = trainer._generate_and_score_completions(rows)
    assert batch["completion_ids"].shape[1] <= 3 and len(trainer._logs["prompt"]) == 32
    rewards = trainer.calls("_calculate_rewards")[-1].result
    assert torch.allclose(batch["advantages"], normalized(rewards, 8), atol=5e-3)
    assert not torch.allclose(batch["advantages"], normalized(rewards, 4), atol=5e-3)


@pytest.mark.seam("_get_train_sampler", "_get_dataloader")
def test_order_of_prompts(tmp_path):
    trainer = probe(tmp_path)
    one, other = trainer._get_train_sampler(), trainer._get_train_sampler()
    first, second = list(one), list(one)
    assert first != second and sorted(first) == sorted(second)
    assert [first[i] for i in range(16)] == [first[i - i % 4] for i in range(16)]
    # an order is drawn whole, so that a look at its first entry goes on to the next order
    assert next(iter(other)) == first[0] and list(other) == second
    loader = trainer._get_dataloader(
        dataset=range(6), description="Training", batch_size=1, sampler_fn=torch.utils.data.SequentialSampler,
        is_training=True,
    )  # fmt: skip
    assert len(loader) == 6


@pytest.mark.seam()
def test_torchs_words_for_a_broken_policy():
    with pytest.raises(RuntimeError, match="probability tensor contains"):
        torch.multinomial(torch.tensor([float("nan"), 1.0]), 1)


class Engine:
    """What a trainer asks of a vLLM engine; its completions are the prompts' own first tokens."""

    def __init__(self, logps):
        self.logps, self.synced = logps, 0

    def sync_weights(self):
        self.synced += 1

    def generate(self, prompts, images, num_generations, profiler):
        completions = [list(prompt[:2]) for prompt in prompts]
        return prompts, completions, [[[self.logps] for _ in ids] for ids in completions], None


@pytest.mark.seam("_last_loaded_step")
@pytest.mark.parametrize("mode", ["token_truncate", "token_mask"])
def test_an_engine_gets_the_weights_of_each_update_and_its_ratios_are_cut(mode, tmp_path):
    trainer = probe(tmp_path, max_steps=1)
    trainer.train()
    trainer.use_vllm, trainer.vllm_importance_sampling_correction, trainer._last_loaded_step = True, True, -1
    trainer.vllm_importance_sampling_mode = mode
    trainer.args.vllm_importance_sampling_mode = mode
    rows = [{"prompt": prompt} for prompt in countdown_dataset(4, seed=2)["prompt"] for _ in range(4)]
    trainer.vllm_generation = engine = Engine(logps=-20.0)  # so unlikely that each ratio is above its bound
    trainer.model.train()
    batch = trainer._generate_and_score_completions(rows)
    assert engine.synced == 1
    trainer._generate_and_score_completions(rows)
    assert engine.synced == 1
    trainer.state.global_step += 1
    trainer._generate_and_score_completions(rows)
    assert engine.synced == 2
    trainer._last_loaded_step = -1
    trainer._generate_and_score_completions(rows)
    assert engine.synced == 3
    bound = trainer.args.vllm_importance_sampling_clip_max
    ratios = batch["importance_sampling_ratio"][batch["completion_mask"].bool()]
    assert bound > 1.0 and set(ratios.tolist()) == ({bound} if mode == "token_truncate" else {0.0})
    assert trainer._metrics["train"]["sampling/sampling_logp_difference/mean"][0] > 5.0


@pytest.mark.seam("_logs", "_tokenizer", "eos_token_ids")
def test_the_logs_hold_the_rollout_whose_completions_were_just_scored(tmp_path):
    seen = []

    class Noting(Probe):
        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            logs = self._logs
            columns = (logs["prompt"], logs["completion"], logs["rewards"]["pluses"], logs["advantages"])
            seen.append([list(column) for column in columns])
            assert seen[-1][0] == [row["prompt"] for row in inputs]
            assert torch.equal(torch.tensor(seen[-1][3]), batch["advantages"])
            return batch

    trainer = probe(tmp_path, Noting, max_completion_length=6)
    trainer.train()
    rewarded = trainer.calls("_calculate_rewards")
    assert [logged[1] for logged in seen] == [call.args[2] for call in rewarded] and len(seen) == 2
    assert [logged[2] for logged in seen] == [call.result[:, 0].tolist() for call in rewarded]
    # a completion is cut where it does not end with one of these
    ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
    cut = [sum(ids[-1] not in ends for ids in call.args[3]) / 16 for call in rewarded]
    logged = [entry["completions/clipped_ratio"] for entry in trainer.state.log_history if "reward" in entry]
    assert logged == pytest.approx(cut) and 0 < cut[1] < 1
