"""The control of entropy: once per rollout or update, target and measured entropy become a control.

This folder imports neither torch nor TRL.

- `base.py`: base classes of controllers and actuators.
- `bounded.py`: base class of controllers with bounds.
- `algorithm1.py`: the paper's Algorithm 1: a fixed step in the direction of the error.
- `pid.py`: a PID with feed-forward.
- `self_tuned.py`: a PID whose gains come from the run.
- `dynamics.py`: the filter that `self_tuned` learns with, and the loop beside a controller that does not learn.
- `band.py`: controllers with a band around the target.
- `double_halve.py`: a controller that doubles and halves its control (REPO-R).
- `hysteresis.py`: a controller that turns round at a floor and at a ceiling.
- `open_loop.py`: controllers that do not read the measured entropy.
- `schedules.py`: the protocol of schedules, and the progress and the phases of a run.
- `shapes.py`: the schedules that a recipe can name.
- `sketch.py`: a schedule drawn as text.
- `loop.py`: the loop that connects schedule, controller and actuators.
- `tick.py`: the decision of the loop.
- `handover.py`: a chain of actuators, one of which acts at a time.
- `checks.py`: checks of controllers and actuators, which a user may have written.
- `values.py`: checks of single values.
- `alarms.py`: messages about states of a run that a person should look at.
- `geometry.py`: prompts, completions, micro-batches and updates of a rollout.

A new controller or schedule needs one file here, one row in `config/registry.py` and one test. A schedule that a recipe
names is a class in `shapes.py` instead of a file. A new actuator goes to `actuators/`.
"""
