"""The control of entropy, once per rollout: target and measured entropy in, a control out. Knows neither torch nor TRL.

base         base classes of controllers and actuators
bounded      base class of controllers with bounds
algorithm1   the paper's Algorithm 1: a step in the direction of the error
pid          a PID with feed-forward
self_tuned   a PID whose gains follow from the run
dynamics     the Kalman estimate of the plant behind `self_tuned`
band         controllers that answer how far entropy is outside a band
open_loop    controllers that hold a control, or hand on the target
schedules    the protocol of a schedule, progress and phases of a run
shapes       the schedules that a recipe can name
sketch       a schedule as text
loop         one tick per rollout: schedule, controller and actuators together
handover     a chain of actuators, of which one acts
checks       controllers and actuators that may be a user's own
values       numbers and names within their limits
alarms       states of a run that a person should look at
geometry     prompts, completions, micro-batches and updates of a rollout

A new controller or schedule is one file here (a shape: one class in `shapes`), one row in `config/registry.py` and one
test. A new actuator goes to `actuators/`.
"""
