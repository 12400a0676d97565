"""The control of entropy, once per rollout: target and measured entropy in, a control out. Knows neither torch nor TRL.

base         what a controller and an actuator are
bounded      what controllers with bounds share
algorithm1   the paper's Algorithm 1: a step in the direction of the error
pid          a PID with feed-forward
self_tuned   a PID whose gains follow from the run
dynamics     the Kalman estimate that `self_tuned` goes by
band         controllers that answer how far entropy is outside a band
open_loop    controllers that hold a control, or hand on the target
schedules    what a schedule is, progress and phases of a run
shapes       the schedules that a recipe can name
sketch       a schedule as text
loop         one tick per rollout: schedule, controller and actuators together
handover     a chain of actuators, of which one acts
checks       parts of a user's own: what they lack
values       numbers and names within their limits
alarms       what a person should look at in a run
geometry     prompts, completions, micro-batches and updates of a rollout

A new controller or schedule is one file here (a shape: one class in `shapes`), one row in `config/registry.py` and one
test. A new actuator goes to `actuators/`.
"""
