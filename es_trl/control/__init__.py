"""The control of entropy, once per rollout: target and measured entropy in, a control out. Knows neither torch nor TRL.

- `base.py`: base classes of controllers and actuators.
- `bounded.py`: base class of controllers with bounds.
- `algorithm1.py`: the paper's Algorithm 1: a step in the direction of the error.
- `pid.py`: a PID with feed-forward.
- `self_tuned.py`: a PID whose gains follow from the run.
- `dynamics.py`: the Kalman estimate of the plant behind `self_tuned`.
- `band.py`: controllers that answer how far entropy is outside a band.
- `open_loop.py`: controllers that hold a control, or hand on the target.
- `schedules.py`: the protocol of a schedule, progress and phases of a run.
- `shapes.py`: the schedules that a recipe can name.
- `sketch.py`: a schedule as text.
- `loop.py`: one tick per rollout: schedule, controller and actuators together.
- `handover.py`: a chain of actuators, of which one acts.
- `checks.py`: controllers and actuators that may be a user's own.
- `values.py`: numbers and names within their limits.
- `alarms.py`: states of a run that a person should look at.
- `geometry.py`: prompts, completions, micro-batches and updates of a rollout.

A new controller or schedule is one file here (a shape: one class in `shapes`), one row in `config/registry.py` and one
test. A new actuator goes to `actuators/`.
"""
