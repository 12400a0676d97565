"""The trainer: `ESGRPOTrainer` in four layers of short overrides of TRL's `GRPOTrainer`, and their helpers.

- `trainer.py`: `ESGRPOTrainer`, which saves and resumes runs.
- `update_trainer.py`: the base class of `ESGRPOTrainer`, which cuts each update by its tokens.
- `rollout_trainer.py`: the base class of `UpdateTrainer`, which measures, records and controls every rollout.
- `pushing_trainer.py`: the base class of `RolloutTrainer`, which logs failed uploads and retries them.
- `arguments.py`: the arguments of the trainer, completed and checked before the model loads.
- `inputs.py`, `model_folder.py`: checks of rewards, datasets, settings and the model before weights load.
- `launch.py`: checks of the launch and of how the model is spread over processes.
- `callbacks.py`: `RolloutCallback` with its two events and `Decision`; the entropy scheduler and the curriculum.
- `callback_list.py`: the callbacks of a run, from the user and from the configuration.
- `read_once.py`: the rows of a rollout, read once for all its micro-batches.
- `rollout.py`: the open rollout, from which the record is built.
- `sensor.py`: the entropy sensors of a rollout and of an update.
- `evaluation.py`: pass@k of an evaluation, which leaves no trace in the run.
- `generation.py`: the replacement of prompts between generation and scoring.
- `loss.py`: TRL's loss with the changes of the actuators.
- `forward.py`: the forward pass of the policy in a layout, for a micro-batch or a whole rollout.
- `update.py`: one update: the micro-batches that TRL holds, and those that are computed.
- `micro_batches.py`: the choice of how a run cuts its updates, and the backward passes of an update.
- `stage_switch.py`: the sizes of a stage, written to every place where TRL keeps a copy.
- `temperature.py`: the temperature of a stage, for the completions and for the fused head.
- `overlong.py`: the punishment of long completions.
- `checkpoint.py`: the state of a run, written into a checkpoint and restored on a resume.
- `save.py`: the replacement of a checkpoint and the removal of old ones.
- `resume.py`: the choice of the checkpoint for a resume, and the check that all of it is loaded.
- `description.py`: the description of the run in a checkpoint.
- `last_page.py`: the page about the run, at its end.
- `startup.py`: the text that is printed when a run begins.

A new kind of callback is a subclass of `RolloutCallback` that returns a `Decision`. A new state of a run is a field
of `RunState`, which `checkpoint.py` writes and restores.
"""
