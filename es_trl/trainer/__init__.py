"""The seam with TRL: `ESGRPOTrainer`, in three layers of short overrides, and what they decide by.

- `trainer.py`: `ESGRPOTrainer`, a run with its saves and resumes.
- `rollout_trainer.py`: its base, whose rollouts are measured, recorded and controlled.
- `pushing_trainer.py`: the base of that, whose uploads are told and made up for.
- `arguments.py`: what a trainer is called with, completed or refused.
- `inputs.py`, `model_folder.py`: checks of rewards, data, settings and the model before weights load.
- `launch.py`: checks of the launch and of how the model is spread over processes.
- `callbacks.py`: `RolloutCallback` with its two events and `Decision`; the entropy scheduler and the curriculum.
- `callback_list.py`: the callbacks of a run, the user's and those of the configuration.
- `rollout.py`: the open rollout, of which the record is built.
- `sensor.py`: the entropy of a rollout.
- `generation.py`: prompts that are replaced between generation and scoring.
- `loss.py`: one loss with what actuators make of it.
- `micro_batches.py`: micro-batches cut into parts.
- `stage_switch.py`: the sizes of a stage, wherever TRL keeps a copy of them.
- `overlong.py`: the punishment of long completions.
- `checkpoint.py`: what a checkpoint holds of a run, collected on a save and given back on a resume.
- `save.py`: how a checkpoint is replaced, and old ones are removed.
- `resume.py`: which checkpoint a run goes on from, and whether all of it is loaded.
- `description.py`: what a checkpoint says of the run.
- `startup.py`: the text that a run begins with.

A callback of a new kind is a subclass of `RolloutCallback` that returns a `Decision`. A new state of a run is a field
of `RunState`, which `checkpoint.py` writes and takes up.
"""
