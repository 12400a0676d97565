"""`ESGRPOTrainer`: the seam with TRL. Short overrides around `super()`; formulas live in the other files."""

import contextlib
import json
import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from .callbacks import Curriculum, EntropyScheduler, RolloutCallback, collect_callbacks, prepare_callbacks
from .card import append_run_section
from .config import ESGRPOConfig
from .control import broken_policy
from .curriculum import PlannedStage
from .dynamic_sampling import Answers, DynamicSampling, nothing_to_learn
from .geometry import Geometry
from .history import LOOP_FILE, History, RolloutRecord, write_atomically
from .micro_batches import counted, cut, more_to_come, temporarily
from .report import report
from .rewards.overlong import SoftOverlongPunishment
from .rollout import OpenRollout
from .sensor import EntropySensor, completion_mask, prompt_index
from .stage_copies import check_engine, follow_stage, tell_rewards
from .state import RunState, find_checkpoint, load_rollout, save_rollout, weights_are_finite
from .train_data import check_dataset, check_replaceable, named_datasets


class ESGRPOTrainer(GRPOTrainer):
    """
    [`~trl.GRPOTrainer`] that holds the policy's entropy to a schedule.

    Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models" (ACL Findings 2026).

    The `entropy_*` blocks of [`ESGRPOConfig`], or an [`EntropyScheduler`] among `callbacks`, name schedule, controller
    and actuator; its `curriculum` block, or a [`Curriculum`], the stages. With none of them the weights are those of
    `GRPOTrainer`, bit for bit. Either way every rollout is measured and recorded in `es_history.jsonl`, and drawn in
    `es_curves.png`; and a checkpoint, at whatever update, resumes to the same run.

    Args:
        model (`str` or `PreTrainedModel`):
            As in `GRPOTrainer`.
        reward_funcs (reward function, list of them, or `None`):
            As in `GRPOTrainer`.
        args (`ESGRPOConfig`, *optional*):
            The configuration; a plain `GRPOConfig` has no `entropy_*` blocks.
        train_dataset (`Dataset`, `dict[str, Dataset]` or `IterableDataset`, *optional*):
            As in `GRPOTrainer`, or several by name for the stages of a curriculum: the first of which is that of
            `"train"` unless it names its own. One that is empty, or smaller than a rollout, is refused.
        callbacks (list of `TrainerCallback`, *optional*):
            As in `GRPOTrainer`; those that are [`RolloutCallback`] get the two rollout events.
        eval_dataset, kwargs:
            Everything else goes to `GRPOTrainer` as it is.

    Raises:
        ValueError: for what cannot work, before the model loads.
    """

    _tag_names = ["trl", "es-grpo", "entropy-scheduling"]
    _name = "ES-GRPO"
    _paper = {
        "title": "Entropy Scheduling in Reinforcement Learning for Large Language Models",
        "citation": textwrap.dedent("""\
            @inproceedings{wang2026entropy,
                title        = {{Entropy Scheduling in Reinforcement Learning for Large Language Models}},
                author       = {Xingjin Wang and Howe Tissue and Lu Wang and Linjing Li and Daniel Dajun Zeng},
                year         = 2026,
                booktitle    = {Findings of the Association for Computational Linguistics: ACL 2026},
            }"""),
    }

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ):
        args = ESGRPOConfig("es-grpo") if args is None else args
        callbacks = collect_callbacks(args, callbacks or [])
        rollout_callbacks = [callback for callback in callbacks if isinstance(callback, RolloutCallback)]
        curriculum = next((callback for callback in callbacks if isinstance(callback, Curriculum)), None)
        if curriculum is not None:
            curriculum.datasets = named_datasets(train_dataset)
        prepare_callbacks(rollout_callbacks, args)
        if curriculum is None:
            check_dataset(train_dataset, Geometry.of(args).prompts)
        else:
            train_dataset = curriculum.first_dataset
        tries = getattr(args, "dynamic_sampling_tries", 0)
        if tries:
            check_replaceable(train_dataset, kwargs)
        if cache := getattr(args, "overlong_cache", 0):
            reward_funcs = [*(reward_funcs if isinstance(reward_funcs, list) else [reward_funcs])]
            reward_funcs.append(SoftOverlongPunishment(cache))
        self.entropy_bonus = 0.0  # signed coefficient of the token-mean entropy; what `entropy_bonus` moves
        self._prompt_sampler: RepeatSampler | None = None
        super().__init__(model, reward_funcs, args, train_dataset, eval_dataset, callbacks=callbacks, **kwargs)
        by_function = self.multi_objective_aggregation == "normalize_then_sum"
        self._dynamic_sampling = (
            DynamicSampling(tries, self.reward_weights, by_function, self.accelerator) if tries else None
        )
        self.history = History(self.args.output_dir, writes=self.accelerator.is_main_process)
        self._begin_run()
        if self.use_vllm and curriculum is not None:
            check_engine(self.vllm_generation, curriculum.planned)

    # --- the run -----------------------------------------------------------------------------------------------------

    def _begin_run(self) -> None:
        self._step, self._buffered_inputs = 0, None  # TRL keeps both from an earlier run of the same trainer
        self._announced = False
        self._next_rollout = 0
        self._rollout: OpenRollout | None = None
        self._settings: dict[str, float] = {}
        self._loss_entropies: torch.Tensor | None = None
        self._rewards: torch.Tensor | None = None  # of a rollout that dynamic sampling has put together
        self._passes, self._pass = 1, 0  # backward passes for each of TRL's micro-batches, and the present one
        prepare_callbacks(self._rollout_callbacks, self.args)
        tell_rewards(self.reward_funcs, self.args.max_completion_length, getattr(self.args, "overlong_cache", 0))
        if self.entropy_scheduler is not None:
            self.apply_settings(self.entropy_scheduler.loop.settings)

    @property
    def _rollout_callbacks(self) -> list[RolloutCallback]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, RolloutCallback)]

    @property
    def entropy_scheduler(self) -> EntropyScheduler | None:
        """The scheduler among the callbacks, or `None` where entropy is only measured."""
        return next((c for c in self._rollout_callbacks if isinstance(c, EntropyScheduler)), None)

    @property
    def curriculum(self) -> Curriculum | None:
        """The curriculum among the callbacks, or `None` where TRL's data loader gives the prompts."""
        return next((c for c in self._rollout_callbacks if isinstance(c, Curriculum)), None)

    def apply_settings(self, settings: dict[str, float]) -> None:
        """Set the trainer attributes that an actuator moves; they are restored on resume."""
        self._settings = {**self._settings, **settings}
        for attribute, value in settings.items():
            setattr(self, attribute, value)

    def apply_stage(self, stage: PlannedStage) -> None:
        """Take up the sizes of a stage of the curriculum."""
        self._passes = stage.passes
        follow_stage(self, stage)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        checkpoint = find_checkpoint(resume_from_checkpoint, self.args.output_dir)
        if checkpoint is None:
            self._begin_run()
            self.history.begin()
        else:
            self._read_state(checkpoint)  # refused before anything is loaded
        if self.accelerator.is_main_process:
            path = Path(self.args.output_dir) / LOOP_FILE
            if self.entropy_scheduler is None:
                path.unlink(missing_ok=True)  # of an earlier run in the same folder
            else:
                write_atomically(path, json.dumps(self.entropy_scheduler.loop.describe(), indent=2) + "\n")
        output = super().train(checkpoint, **kwargs)
        if self._rollout is not None:  # the run ended inside a rollout
            self._close_rollout()
        self.create_model_card(model_name=Path(self.args.output_dir).name)
        return output

    @property
    def num_rollouts(self) -> int:
        """Rollouts in the run; known once training has begun."""
        return Geometry.of(self.args, max_steps=self.state.max_steps).rollouts

    @property
    def _generate_every(self) -> int:
        """Micro-batches from one rollout to the next, as in TRL's `_prepare_inputs`."""
        return self.args.steps_per_generation * self.num_iterations

    @property
    def _prompts(self) -> int:
        """Prompts of the present rollout."""
        return Geometry.of(self.args).prompts if self.curriculum is None else self.curriculum.stage.prompts

    # --- the rollout -------------------------------------------------------------------------------------------------

    def training_step(self, model, inputs, num_items_in_batch=None):
        if self._step % self._generate_every == 0:
            self._begin_rollout()
        is_last = self._is_last_micro_batch
        earlier, self._pass = 0.0, 0
        while self._pass < self._passes - 1:
            with more_to_come(self.accelerator, model):
                earlier = earlier + Trainer.training_step(self, model, inputs, num_items_in_batch)
            self._pass += 1
        loss = super().training_step(model, inputs, num_items_in_batch) + earlier
        if is_last:
            self._close_rollout()
        return loss

    @property
    def _is_last_micro_batch(self) -> bool:
        return (self._step + 1) % self._generate_every == 0

    def _begin_rollout(self) -> None:
        if not self._announced and self.accelerator.is_main_process:
            geometry = Geometry.of(self.args, max_steps=self.state.max_steps)
            print(report(self.args, geometry, self.entropy_scheduler, self.curriculum), flush=True)
        self._announced = True
        record = RolloutRecord(
            rollout=self._next_rollout,
            global_step=self.state.global_step,
            num_generations=self.num_generations,
            max_completion_length=self.max_completion_length,
        )
        for callback in self._rollout_callbacks:
            callback.on_rollout_begin(self.args, self.state, self.control, record=record, trainer=self)
        self._rollout = OpenRollout(record, EntropySensor(self._prompts))

    def _prepare_inputs(self, generation_batch):
        if not self.model.training or self._passes == 1:
            return super()._prepare_inputs(generation_batch)
        if self._pass == 0:
            self._parts = cut(super()._prepare_inputs(generation_batch), self._passes)
        return self._parts[self._pass]

    def _generate_and_score_completions(self, inputs):
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        rollout = self._rollout
        self._rows = inputs if self.curriculum is None else self._draw_rows(self._prompts)
        try:
            batch = super()._generate_and_score_completions(self._rows)
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):  # torch's words where it cannot sample
                raise
            raise ValueError(broken_policy(self._next_rollout, "no token can be sampled from it")) from error
        rollout.record.reward = self._metrics["train"]["reward"][-1]
        rollout.record.completion_tokens = self._metrics["train"]["completions/mean_length"][-1]
        # TRL shuffles rows
        batch["prompt_index"] = prompt_index(len(self._rows), self.num_generations, self.accelerator)
        if self._dynamic_sampling is not None:
            self._mask_uniform(batch)
        passes, rollout.no_grad_passes = rollout.no_grad_passes, []
        for logps, entropies in passes:
            if logps is batch.get("old_per_token_logps"):
                rollout.sensor.add(entropies, completion_mask(batch), batch["prompt_index"])
                self._end_rollout()
        return batch

    def _end_rollout(self) -> None:
        """The rollout is measured: let the callbacks act before its first update, and log what they did."""
        record = self._rollout.record
        reading = self._rollout.sensor.read(self.accelerator)
        if reading is not None:
            record.entropy, record.entropy_se = reading.mean, reading.standard_error
        self._rollout.measured = True
        for callback in self._rollout_callbacks:
            callback.on_rollout_end(self.args, self.state, self.control, record=record, trainer=self)
        for field in ("target", "entropy", "entropy_se", "error", "control", "saturated", "curriculum_stage", "jump"):
            if (value := getattr(record, field)) is not None:
                self._metrics["train"][f"es/{field}"].append(float(value))

    def _close_rollout(self) -> None:
        """The rollout is used up: its record is complete."""
        self.history.append(self._rollout.close())
        self._next_rollout += 1
        self._rollout = None

    # --- the prompts -------------------------------------------------------------------------------------------------

    def get_train_dataloader(self):
        if self.curriculum is None:
            return super().get_train_dataloader()
        # A rollout draws its prompts when it begins, so the loader has only its micro-batches to count.
        micro_batches = self.args.max_steps * self.args.gradient_accumulation_steps
        if self.args.max_steps <= 0:
            micro_batches = len(self.train_dataset) // Geometry.of(self.args).prompts * self._generate_every
        return self._get_dataloader(
            dataset=range(micro_batches * self.accelerator.num_processes),
            description="Training",
            batch_size=1,
            sampler_fn=SequentialSampler,
            is_training=True,
        )

    def _get_train_sampler(self, dataset=None):
        self._prompt_sampler = super()._get_train_sampler(dataset)
        return self._prompt_sampler

    def _draw_rows(self, prompts: int) -> list[dict[str, Any]]:
        """This process's rows of the next prompts, one a completion."""
        return self.curriculum.draw(prompts, self.num_generations, self.accelerator)

    def _generate(self, prompts):
        generated = super()._generate(prompts)
        if self._dynamic_sampling is None or not self.model.training:
            return generated
        own = self._score(self._rows, generated)
        self._uniform, cost = self._dynamic_sampling.refill(own, self.num_generations, self._draw_rows, self._answer)
        if self._uniform.all():
            raise ValueError(nothing_to_learn(self._next_rollout, cost))
        # TRL goes on with the lists that it gave
        self._rows[:] = [entry["row"] for entry in own.entries]
        prompts[:] = [row["prompt"] for row in self._rows]
        self._rewards = own.rewards
        for column in own.entries[0]["logged"]:
            self._pending_extra_logs[column] = [entry["logged"].get(column) for entry in own.entries]
        prompt_ids, completion_ids, tool_mask, completions, logprobs = own.columns()
        lengths = torch.tensor([float(len(ids)) for ids in completion_ids], device=self.accelerator.device)
        self._metrics["train"]["completions/mean_length"].append(self.accelerator.gather(lengths).mean().item())
        self._rollout.record.sampling = asdict(cost)
        for name, value in asdict(cost).items():
            self._metrics["train"][f"es/sampling/{name}"].append(float(value))
        return prompt_ids, completion_ids, tool_mask, completions, logprobs, {}, *generated[6:]

    def _answer(self, rows: list[dict[str, Any]]) -> Answers:
        """A completion for each row, and the rewards."""
        return self._score(rows, super()._generate([row["prompt"] for row in rows]))

    def _score(self, rows: list[dict[str, Any]], generated: tuple[Any, ...]) -> Answers:
        _, completion_ids, _, completions, _, extra_fields, *_ = generated
        for name, values in extra_fields.items():  # of a rollout function, as TRL hands them to the rewards
            for row, value in zip(rows, values, strict=False):
                row[name] = value
        prompts = [row["prompt"] for row in rows]
        rewards = super()._calculate_rewards(rows, prompts, completions, completion_ids)
        logged = dict(self._pending_extra_logs)
        self._pending_extra_logs.clear()
        return Answers(Answers.entries_of(rows, generated, logged), rewards)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards, self._rewards = self._rewards, None  # known already where dynamic sampling needed them
        if rewards is not None:
            return rewards
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _mask_uniform(self, batch: dict[str, Any]) -> None:
        """Leave out of the loss what dynamic sampling could not replace."""
        kept = ~self._uniform.to(batch["prompt_index"].device)[batch["prompt_index"]]
        batch["completion_mask"] = batch["completion_mask"] * kept.unsqueeze(1)
        batch["num_items_in_batch"] = self.accelerator.gather(completion_mask(batch).sum()).sum()

    # --- the passes --------------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(self, model, *args, compute_entropy=False, **kwargs):
        # The fused head has the entropy in every pass of the policy; TRL drops it where no gradient is needed.
        measures = model is self.model and self.model.training and not torch.is_grad_enabled()
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            model, *args, compute_entropy=compute_entropy or measures, **kwargs
        )
        if measures and self._rollout is not None and not self._rollout.measured:
            self._rollout.no_grad_passes.append((logps, entropies))
        elif compute_entropy:
            self._loss_entropies = entropies
        return logps, entropies if compute_entropy else None, aux_loss

    def _compute_loss(self, model, inputs):
        # dr_grpo divides by the longest completion; that of the first stage throughout, so that a switch to longer ones
        # leaves the scale of the loss as it was
        first_length = temporarily(self, max_completion_length=self.args.max_completion_length)
        with first_length, counted(self, self._passes) if self.model.training else contextlib.nullcontext():
            loss = super()._compute_loss(model, inputs)
        entropies, self._loss_entropies = self._loss_entropies, None
        if not self.model.training:
            return loss
        mask = completion_mask(inputs)
        if self.entropy_bonus != 0.0:
            # TRL's token count spans the rollout: a token weighs the same in every micro-batch and on every process.
            updates = self.args.steps_per_generation / self.current_gradient_accumulation_steps
            tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes / updates
            loss = loss - self.entropy_bonus * (entropies * mask).sum() / tokens
        for name in ("clip_ratio/high_mean", "cispo_clip_ratio"):
            if name in self._metrics["train"]:
                self._rollout.clip_fractions.append(self._metrics["train"][name][-1])
        if not self._rollout.measured:  # TRL made no pass before the first update: measure in the only one
            self._rollout.sensor.add(entropies, mask, inputs["prompt_index"])
            if self._is_last_micro_batch and self._pass == self._passes - 1:
                self._end_rollout()
        return loss

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model, trial):
        if not weights_are_finite(self.model_wrapped, self.accelerator):
            raise ValueError(broken_policy(self._next_rollout, "its weights are not finite"))
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save and folder.exists():  # of a save that was cut short, or of an earlier run
            shutil.rmtree(folder)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # The one hook of a checkpoint that comes before its push to the Hub.
        super()._save_optimizer_and_scheduler(output_dir)
        if self._rollout is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_rollout(Path(output_dir), self.accelerator.process_index, self._buffered_inputs)
        if self.args.should_save:
            self._state().save(output_dir)
            shutil.copy(self.history.path, output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # trainer_state.json, which comes next, says that all files are there

    def _state(self) -> RunState:
        rollout = self._rollout
        return RunState(
            geometry=self._counts,
            micro_step=self._step,
            rollout=self._next_rollout,
            record=None if rollout is None else rollout.record,
            clip_fractions=[] if rollout is None else rollout.clip_fractions,
            seconds=0.0 if rollout is None else rollout.seconds,
            settings=self._settings,
            metrics=dict(self._metrics["train"]),
            callbacks=[(type(callback).__name__, callback.state_dict()) for callback in self._rollout_callbacks],
        )

    @property
    def _counts(self) -> dict[str, int]:
        names = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
        counts = {name: getattr(self.args, name) for name in (*names, "num_generations")}
        return {"num_processes": self.accelerator.num_processes, **counts}

    def _read_state(self, checkpoint: str) -> RunState:
        return RunState.load(
            checkpoint, [type(callback).__name__ for callback in self._rollout_callbacks], self._counts
        )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._load_run(Path(checkpoint))

    def _load_run(self, checkpoint: Path) -> None:
        state = self._read_state(str(checkpoint))
        self._begin_run()
        self._step = state.micro_step  # TRL restarts it at 0, which would shift every later rollout
        self._next_rollout = state.rollout
        self.history.begin(checkpoint / self.history.path.name, keep=state.rollout)
        for callback, (_, callback_state) in zip(self._rollout_callbacks, state.callbacks, strict=True):
            callback.load_state_dict(callback_state)
        self.apply_settings(state.settings)
        self._metrics["train"].update(state.metrics)
        if self.curriculum is not None and self.curriculum.stage is not None:
            self.apply_stage(self.curriculum.stage)
        if state.record is not None:
            sensor = EntropySensor(self._prompts)
            self._rollout = OpenRollout(state.record, sensor, True, state.clip_fractions, state.seconds)
            self._buffered_inputs = load_rollout(checkpoint, self.accelerator.process_index, self.accelerator.device)
        if self._prompt_sampler is None:
            return
        for _ in range(int(self.state.epoch)):  # TRL's sampler draws an order an epoch, and would replay the first
            next(iter(self._prompt_sampler))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            append_run_section(Path(self.args.output_dir))
