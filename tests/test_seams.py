"""Every name of TRL and transformers that es_trl leans on. An upgrade that breaks the seam fails here."""

import inspect
import re
from pathlib import Path

import trl
from transformers import Trainer
from transformers.integrations import TrackioCallback
from trl import GRPOConfig, GRPOTrainer, TrlParser


def source(function):
    return inspect.getsource(inspect.unwrap(function))


def test_trl_is_the_pinned_minor():
    assert trl.__version__.startswith("1.16.")


def test_overridden_signatures():
    expected = {
        "_generate_and_score_completions": ["self", "inputs"],
        "_compute_loss": ["self", "model", "inputs"],
        "_get_train_sampler": ["self", "dataset"],
        "_load_optimizer_and_scheduler": ["self", "checkpoint"],
        "create_model_card": ["self", "model_name", "dataset_name", "tags"],
        "_save_optimizer_and_scheduler": ["self", "output_dir"],
        "_save_checkpoint": ["self", "model", "trial"],
        "training_step": ["self", "model", "inputs", "num_items_in_batch"],
        "_prepare_inputs": ["self", "generation_batch"],
        "_generate": ["self", "prompts"],
        "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
        "get_train_dataloader": ["self"],
        "_save_rng_state": ["self", "output_dir"],
        "init_hf_repo": ["self", "token"],
        "push_to_hub": ["self", "commit_message", "blocking", "token", "revision", "kwargs"],
        "_push_from_checkpoint": ["self", "checkpoint_folder"],
        "_finish_current_push": ["self"],
        "save_model": ["self", "output_dir", "_internal_call"],
    }
    found = {name: list(inspect.signature(getattr(GRPOTrainer, name)).parameters) for name in expected}
    assert found == expected
    assert next(iter(inspect.signature(Trainer.train).parameters.values())).name == "self"
    assert "resume_from_checkpoint" in inspect.signature(GRPOTrainer.train).parameters


def test_entropy_pass():
    parameters = inspect.signature(inspect.unwrap(GRPOTrainer._get_per_token_logps_and_entropies)).parameters
    assert list(parameters)[:2] == ["self", "model"] and parameters["compute_entropy"].default is False
    assert "return logps, entropies, aux_loss" in source(GRPOTrainer._get_per_token_logps_and_entropies)
    # the policy's head returns the entropy in every pass
    assert 'outputs=("log_probs", "entropy")' in source(GRPOTrainer.__init__)
    generate = source(GRPOTrainer._generate_and_score_completions)
    # the old log-probs are returned as the very tensor of their pass, by which the sensor knows it
    assert "old_per_token_logps, _, _ = self._get_per_token_logps_and_entropies(" in generate
    assert 'output["old_per_token_logps"] = old_per_token_logps' in generate
    assert "with torch.no_grad()" in generate


def test_rollout_cadence():
    prepare = source(GRPOTrainer._prepare_inputs)
    assert "generate_every = self.args.steps_per_generation * self.num_iterations" in prepare
    assert "if self._step % generate_every == 0 or self._buffered_inputs is None" in prepare
    assert "self._step += 1" in source(GRPOTrainer.training_step)
    assert "gradient_accumulation_steps % generate_every != 0" in source(GRPOTrainer._generate_and_score_completions)


def test_batch_and_loss():
    generate = source(GRPOTrainer._generate_and_score_completions)
    for key in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "num_items_in_batch"):
        assert f'"{key}": ' in generate
    loss = source(GRPOTrainer._compute_loss)
    assert "self.current_gradient_accumulation_steps / self.args.steps_per_generation" in loss
    assert "coef_2 = torch.clamp(coef_1, 1 - self.epsilon_low, 1 + self.epsilon_high)" in loss
    assert "torch.clamp(coef_1, max=self.epsilon_high)" in loss
    assert re.search(r'loss_type in \["grpo", "bnpo", "dr_grpo", "dapo", "luspo"\]', loss)


def test_rows_of_a_rollout():
    # each prompt is repeated in place, a process holds one slice, and what is added to the batch is shuffled with it
    generate = source(GRPOTrainer._generate_and_score_completions)
    assert "rewards.view(-1, num_generations)" in generate
    assert "self.accelerator.process_index * len(prompts)" in generate
    assert "shuffle_sequence_dict(generation_batch)" in source(GRPOTrainer._prepare_inputs)


def test_metrics_that_the_history_reads():
    generate = source(GRPOTrainer._generate_and_score_completions)
    assert 'self._metrics[mode]["reward"].append' in generate
    assert '["completions/mean_length"].append' in source(GRPOTrainer._generate)
    assert '["sampling/sampling_logp_difference/mean"].append' in generate
    loss = source(GRPOTrainer._compute_loss)
    assert '["clip_ratio/high_mean"].append' in loss and '["cispo_clip_ratio"].append' in loss


def test_vllms_importance_ratios():
    generate = source(GRPOTrainer._generate_and_score_completions)
    # what was cut is at a bound, what was masked is 0, and a token that does not count has 1
    assert "vllm_importance_sampling_ratio = torch.clamp(" in generate
    assert "invalid_mis_mask, value=0.0" in generate
    assert "per_token_logps_diff = (old_per_token_logps - sampling_per_token_logps) * mask" in generate
    assert 'output["importance_sampling_ratio"] = vllm_importance_sampling_ratio' in generate
    # the engine gets the weights again where this differs from the update
    assert "self.state.global_step != self._last_loaded_step" in source(GRPOTrainer._generate_single_turn)


def test_attributes_that_actuators_move():
    init = source(GRPOTrainer.__init__)
    assert "self.epsilon_low = args.epsilon\n" in init
    assert "self.epsilon_high = args.epsilon_high if args.epsilon_high is not None else args.epsilon" in init
    assert "self.beta = args.beta\n" in init
    assert "per_token_loss + self.beta * per_token_kl" in source(GRPOTrainer._compute_loss)
    assert not hasattr(GRPOTrainer, "entropy_bonus") and "self.entropy_bonus" not in init


def test_the_head_that_the_clamped_one_replaces():
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction
    from trl.trainer import utils

    assert utils._ChunkedLogProbFunction is ChunkedLogProbFunction
    names = "hidden weight bias targets temperature chunk_size final_logit_softcapping logit_scale outputs"
    assert list(inspect.signature(ChunkedLogProbFunction.forward).parameters) == ["ctx", *names.split()]
    forward = source(utils.add_fused_lm_head)
    # it is looked up when the forward runs, all five results are shaped alike, and the third is one TRL leaves unread
    assert "per_token = _ChunkedLogProbFunction.apply(" in forward
    assert "log_probs, entropy, log_sum_sq_probs, mean_logits, is_top1 = per_token" in forward
    assert "log_sum_sq_probs" not in source(GRPOTrainer._get_per_token_logps_and_entropies)
    assert "outputs = model(**model_inputs, labels=labels, fused_lm_head=True)" in source(
        GRPOTrainer._get_per_token_logps_and_entropies
    )
    assert callable(utils.maybe_gather_lm_head_ctx)


def test_advantages_are_read_after_the_log_probabilities():
    loss = source(GRPOTrainer._compute_loss)
    # effects replace the entry of the batch in between, with one advantage a completion or a token
    assert loss.count('inputs["advantages"]') == 1
    assert loss.index("self._get_per_token_logps_and_entropies(") < loss.index('advantages = inputs["advantages"]')
    assert "if advantages.dim() == 1:" in loss


def test_trls_adaptive_coefficient():
    loss = source(GRPOTrainer._compute_loss)
    # read from the arguments in every update, so that a schedule can move it
    assert loss.count("self.args.entropy_target") == 2 and "self.entropy_target" not in loss


def test_checkpoint_order():
    save = source(Trainer._save_checkpoint)
    # our state must be in the folder when it is pushed
    assert save.index("self._save_optimizer_and_scheduler(output_dir)") < save.index("self._push_from_checkpoint(")
    prepare = source(Trainer._prepare_for_training)
    assert "self._load_optimizer_and_scheduler(resume_from_checkpoint)" in prepare


def test_config_and_parser():
    names = {f for f in GRPOConfig.__dataclass_fields__ if f.startswith("entropy_")}
    assert names == {"entropy_coef", "entropy_coef_delta", "entropy_coef_max", "entropy_coef_min", "entropy_target"}
    assert "model_init_kwargs" in GRPOConfig._VALID_DICT_FIELDS
    assert "fail_with_unknown_args" in inspect.signature(TrlParser.parse_args_and_config).parameters


def test_what_dynamic_sampling_replaces():
    generate = source(GRPOTrainer._generate_and_score_completions)
    # the lists that are replaced in place are those that TRL scores
    assert '[x["prompt"] for x in inputs]' in generate and ") = self._generate(prompts)" in generate
    assert "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)" in generate
    assert generate.index("= self._generate(prompts)") < generate.index("self._get_per_token_logps_and_entropies(")
    assert "return prompt_ids, completion_ids, tool_mask, completions, logprobs, extra_fields" in source(
        GRPOTrainer._generate
    )
    assert "self._pending_extra_logs[column]" in source(GRPOTrainer._log_completion_extra)


def test_copies_of_a_stages_sizes():
    init = source(GRPOTrainer.__init__)
    assert '"max_new_tokens": self.max_completion_length' in init
    assert "self.generation_kwargs = generation_kwargs" in init
    turn = source(GRPOTrainer._generate_single_turn)
    assert "generation_kwargs=self.generation_kwargs" in turn and "generation_config=self.generation_config" in turn
    assert "num_generations = self.num_generations if mode" in source(GRPOTrainer._generate)
    assert "num_generations = self.num_generations if mode" in source(GRPOTrainer._generate_and_score_completions)
    assert "deque(maxlen=args.generation_batch_size)" in init
    vllm = (Path(trl.__file__).parent / "generation" / "vllm_generation.py").read_text()
    assert "max_completion_length = self.max_completion_length" in vllm
    assert vllm.count('"max_tokens": max_completion_length') == 2  # server and colocate


def test_more_micro_batches_in_an_update():
    # what a rollout holds is cut into steps_per_generation parts, whatever their number of rows
    assert "split_tensor_dict(generation_batch, self.args.steps_per_generation)" in source(GRPOTrainer._prepare_inputs)
    step = source(Trainer.training_step)
    assert "inputs = self._prepare_inputs(inputs)" in step and "self.accelerator.backward(loss" in step
    loss = source(GRPOTrainer._compute_loss)
    assert loss.count("self.args.steps_per_generation") == 1
    # of the micro-batches of an update TRL knows in its loss nothing but their number
    assert loss.count("self.current_gradient_accumulation_steps") == 7


def test_order_of_a_checkpoints_files():
    save = source(Trainer._save_checkpoint)
    order = ["self._save_optimizer_and_scheduler(", "self._save_rng_state(", "self.state.save_to_json(", "rotate_check"]
    assert sorted(order, key=save.index) == order


def test_what_a_push_uploads_and_leaves_behind():
    # TRL writes the card before the push, transformers leaves what runs in `push_in_progress`
    assert source(GRPOTrainer._save_checkpoint).index("create_model_card(") < source(
        GRPOTrainer._save_checkpoint
    ).index("super()._save_checkpoint(")
    push = source(Trainer._push_from_checkpoint)
    assert "self.push_in_progress.jobs.extend(push_jobs)" in push and "PushInProgress(push_jobs)" in push
    assert push.count("run_as_future=True") == push.count("token=self.args.hub_token") == 2
    last = source(Trainer.push_to_hub)
    assert last.index("self.save_model(") < last.index("self.create_model_card(") < last.index("upload_folder(")
    assert "run_as_future=not blocking" in last
    for upload in (push, last):  # the command for a push by hand has the same
        assert 'ignore_patterns=["_*", f"{PREFIX_CHECKPOINT_DIR}-*"]' in upload
    assert "self._finish_current_push()" in source(Trainer._finalize_training)
    assert "torch.save(self.args," in push and "torch.save(self.args," in source(Trainer._save)
    template = (Path(trl.__file__).parent / "templates" / "lm_model_card.md").read_text()
    assert "[{{ base_model }}](https://huggingface.co/{{ base_model }})" in template
    assert "args.trackio_static_space_id is False" in source(TrackioCallback.on_push_begin)


def test_numbers_of_the_memory_projection():
    from accelerate.utils import fsdp_utils
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from trl.generation.vllm_generation import VLLMGeneration
    from trl.kernels.chunked_logprob import TOKEN_CHUNK_SIZE, ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

    from es_trl.planning import memory

    assert (TOKEN_CHUNK_SIZE, _CHUNKED_LOGPROB_CHUNK_SIZE) == (memory.TILE_TOKENS, memory.TILE_VOCAB)
    assert "torch.zeros(weight.shape, device=weight.device, dtype=torch.float32)" in source(
        ChunkedLogProbFunction.backward
    )
    engine = source(VLLMGeneration._init_vllm)
    assert f"max_num_batched_tokens={memory.BATCHED_TOKENS}" in engine and "self.llm.sleep(level=2)" in engine
    assert "gather_params(list(model.parameters()))" in source(VLLMGeneration._iter_named_params)
    sizes = re.sub(r"\s+", " ", source(GRPOTrainer.__init__))
    assert (
        "max_num_seqs=args.per_device_train_batch_size * args.vllm_tensor_parallel_size * args.steps_per_generation"
        in sizes
    )
    assert 'get_peft_model_kwargs["autocast_adapter_dtype"] = False' in sizes  # ZeRO-3's adapters are 16-bit
    assert not hasattr(GRPOConfig, "max_prompt_length")
    zero = DeepSpeedZeroConfig(stage=3)
    assert zero.reduce_bucket_size == memory.REDUCE_BUCKET and zero.max_reuse_distance == memory.MAX_REUSE
    assert zero.prefetch_bucket_size == memory.PREFETCH and zero.sub_group_size == memory.SUB_GROUP
    assert zero.contiguous_gradients and not DeepSpeedZeroConfig(stage=2).overlap_comm
    assert "param.data = param.data.to(torch.float32)" in source(fsdp_utils.fsdp2_prepare_model)
