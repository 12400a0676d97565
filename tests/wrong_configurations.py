"""Wrong configurations as people write them, each with words of the sentence that must refuse it."""

import re


OFF = "entropy_schedule: none\nentropy_controller: none\nentropy_actuator: none"

# keys in the place of those of a good recipe, in YAML
IN_RECIPES = [
    ("adam_beta1: 1", "`adam_beta1` must be a finite number >= 0 and < 1, got 1"),
    ("log_level: loud", "`log_level` must be one of"),
    ("lr_scheduler_type: cosine_with_min_lr", "lr_scheduler_type cosine_with_min_lr cannot be built (One of min_lr"),
    ("optim: adamw_8bit", "`optim` adamw_8bit with lr_scheduler_type linear cannot be built ("),
    ("sync_ref_model: true", "`sync_ref_model` is true but `beta` is 0"),
    ("save_strategy: best", "`save_strategy` is best but `metric_for_best_model` is not set"),
    ("use_liger_kernel: true", "`use_liger_kernel` is true but liger-kernel is not installed"),
    ("entropy_schedule: 0.4", "`entropy_schedule` must be a mapping, got 0.4: set one"),
    ("curriculum: {start: 0.5}", "`curriculum` must be a list, got {'start': 0.5}: set one"),
    ("neftune_noise_alpha: -1", "`neftune_noise_alpha` must be a finite number >= 0"),
    # schedule, controller, actuator, curriculum
    ("entropy_schedule: {kind: stable_anneal, target: 0.4, end: 0.05, ratio: 0}", "`ratio` must be > 0 for a targ"),
    ("entropy_schedule: {kind: constant, target: 0, relative: true}", "target must be > 0 times"),
    ("entropy_schedule: {kind: cosine, start: 0, end: 0.1, relative: true}", "start must be > 0 times"),
    ("entropy_schedule: {kind: piecewise, points: [[0, 0], [1, 1]], relative: true}", "must be > 0 times"),
    ("entropy_schedule: {kind: constnt, target: 0.4}", "did you mean 'constant'"),
    ("entropy_schedule: {kind: constant, target: -0.4}", "target must be a finite number >= 0, got -0.4"),
    ("entropy_schedule: {kind: constant, target: .nan}", "target must be a finite number >= 0, got nan"),
    ("entropy_schedule: {kind: constant, target: much}", "`target` must be a number, got 'much': set one"),
    ("entropy_schedule: {kind: constant, target: 0.4, relative: 1}", "`relative` must be true or false, got 1"),
    ("entropy_schedule: yes", "`entropy_schedule` must be a mapping, got True (YAML reads yes"),
    ("entropy_controller: {kind: pid, kp: -1}", "`kp` must be a finite number >= 0, got -1.0"),
    ("entropy_actuator: {kind: entropy_bonus, low: 1, high: 0}", "set `low` below `high`"),
    ("entropy_actuator: {kind: entropy_bonus, hihg: 1}", "did you mean 'high'"),
    ("entropy_actuator: []", "`entropy_actuator` is an empty list"),
    ("entropy_schedule: none\nentropy_controller: pid\nentropy_actuator: none", "set `entropy_schedule`"),
    ("entropy_bonus_scale: 50", "unknown key 'entropy_bonus_scale'"),
    ("curriculum: [{start: 1.5, num_generations: 8}]", "`start` must be onset or a number from 0 to 1, got 1.5"),
    ("method: skywrk", "skywork"),
    # length
    ("max_steps: 3", "`max_steps` must be at least the 4 updates of one rollout, got 3"),
    (f"max_steps: 3\ncurriculum: [{{start: 0, num_generations: 8}}]\n{OFF}", "a curriculum moves once per"),
    (f"max_steps: 0\nnum_train_epochs: 0\n{OFF}", "must be above 0, got 0 and 0"),
    (f"max_steps: -1\nnum_train_epochs: -2\n{OFF}", "got -1 and -2"),
    ("max_steps: 8.5", "`max_steps` must be a whole number, got 8.5: set one"),
    ("num_train_epochs: .nan", "`num_train_epochs` must be a finite number, got nan"),
    # geometry
    ("generation_batch_size: 18\nsteps_per_generation: null", "must be a multiple of 4 (per_device_train_batch_size x"),
    ("generation_batch_size: 20\nnum_generations: 8\nsteps_per_generation: null", "must divide the 20 completions"),
    ("generation_batch_size: 32", "both set, but each follows from the other: leave one"),
    ("num_generations: 3", "so that 3 divides their product"),
    ("num_generations: 1", "set it to 2 or more"),
    ("num_generations: -4", "`num_generations` must be a whole number >= 1, got -4"),
    ("per_device_train_batch_size: 0", "`per_device_train_batch_size` must be a whole number >= 1, got 0"),
    ("eval_strategy: steps\neval_steps: 4\nper_device_eval_batch_size: 3", "`per_device_eval_batch_size` times the"),
    ("eval_pass_at_k: [1]\neval_strategy: no", "`eval_pass_at_k` is set but `eval_strategy` is no"),
    ("eval_pass_at_k: [0]", "`eval_pass_at_k` must be a list of whole numbers >= 1, got [0]"),
    ("eval_dataset_split: test", "`eval_dataset_split` is set but `eval_strategy` is no"),
    # sampling and optimisation
    ("temperature: 0", "`temperature` must be a finite number > 0, got 0"),
    ("temperature: -1.0", "got -1.0: set it to 1, which is the default"),
    ("temperature: .nan", "> 0, got nan"),
    ("top_p: 1.5", "`top_p` must be a finite number > 0 and <= 1"),
    ("min_p: -0.1", "`min_p` must be a finite number >= 0 and <= 1"),
    ("top_k: -5", "`top_k` must be a whole number >= 0"),
    ("repetition_penalty: 0", "`repetition_penalty` must be"),
    ("learning_rate: -1.0e-6", "`learning_rate` must be a finite number >= 0"),
    ("learning_rate: fast", "`learning_rate` must be a number, got 'fast': set one"),
    ("beta: -0.1", "`beta` must be a finite number >= 0"),
    ("epsilon: .inf", "`epsilon` must be a finite number >= 0, got inf"),
    ("seed: -1", "`seed` must be a whole number >= 0"),
    ("save_strategy: steps\nsave_steps: 0", "`save_steps` must be a finite number > 0"),
    ("reward_weights: [1.0, .nan]", "`reward_weights` must be a list of finite numbers"),
    ("reward_weights: [1.0, 2.0]", "(2) must match number of reward functions (1)"),
    ("generation_kwargs: none at all", "`generation_kwargs` must be a mapping"),
    # words
    ("loss_type: dapoo", "`loss_type` must be one of grpo, "),
    ("importance_sampling_level: sentence", "`importance_sampling_level` must be one of token, sequence"),
    ("scale_rewards: per_batch", "`scale_rewards` must be one of group, batch, none"),
    ("vllm_mode: local", "`vllm_mode` must be one of colocate, server"),
    ("optim: adamm", "`optim` must be one of"),
    ("lr_scheduler_type: cosin", "did you mean 'cosine'"),
    ("lr_scheduler_type: off", "`lr_scheduler_type` must be text, got False (YAML reads no"),
    ("save_strategy: yes", "`save_strategy` must be text, got True (YAML reads yes"),
    ("save_strategy: sometimes", "`save_strategy` must be one of no, steps, epoch, best"),
    ("report_to: no", "`report_to` must be text or a list, got False (YAML reads no and off as false): set none"),
    ("curriculum: off", "`curriculum` must be a list, got False (YAML reads no and off as false): set none"),
    ("use_vllm: true", "`use_vllm` is true but vLLM is not installed"),
    ("report_to: wandbb", "`report_to` must be one of"),
    ("loss_type: on", "`loss_type` must be text, got True"),
    ("output_dir: 2024-01-01", "`output_dir` must be text, got datetime.date(2024, 1, 1): put it in quotes"),
    ("output_dir: 7", "`output_dir` must be text, got 7: put it in quotes"),
    ("max_steps: yes", "`max_steps` must be a whole number, got True (YAML reads yes and on as true): set one"),
    ("use_cpu: 2", "`use_cpu` must be true or false, got 2: set one"),
    ("use_cpu: perhaps", "`use_cpu` must be true or false, got 'perhaps': set one"),
    ("max_step: 8", "did you mean 'max_steps'"),
    ("temperature: [1.0]", "`temperature` must be a number, got [1.0]: set one"),
    # model, folder, resume
    ("model_name_or_path: {tmp}/nothing", "a folder that does not exist"),
    ("model_name_or_path: ./nothing/here/at/all", "a folder that does not exist"),
    ("model_name_or_path: someone/nothing", "which is not a folder and cannot be read from the Hub"),
    ("model_name_or_path: {tmp}", "a folder without a config.json"),
    ("model_name_or_path: {tmp}/recipe.yaml", "which is a file"),
    ("output_dir: {tmp}/recipe.yaml", "`output_dir` must be a folder that can be written to"),
    ("output_dir: {tmp}/recipe.yaml/run", "`output_dir` must be a folder that can be written to"),
    ("output_dir: /proc/no/run", "`output_dir` must be a folder that can be written to"),
    ("resume_from_checkpoint: {tmp}", "is not a whole checkpoint"),
    ("resume_from_checkpoint: {tmp}/nothing", "must be a checkpoint's folder"),
    ("resume_from_checkpoint: true", "holds no whole checkpoint to resume from"),
    # data
    ("dataset_name: {tmp}/nothing.jsonl", "nothing.jsonl"),
    ("dataset_filter: {count: [9, 9]}", "keeps no row"),
]  # fmt: skip

ADVICE = r"\b(set|give|leave|put|add|name|choose|save|copy|change|correct|return|widen|did you mean|start|replace)\b"


def is_one_sentence(message: str) -> bool:
    """Whether a message is one line that says what to do, in at most two sentences."""
    return "\n" not in message and re.search(ADVICE, message) and len(re.findall(r"[.!] [A-Z]", message)) <= 1
