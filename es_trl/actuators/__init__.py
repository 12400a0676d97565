"""Actuators, which a control moves. One file per idea, and the objects between them and the loss.

actuation         the actuators of a run with their settings, as the loss applies them
batch             the scores of a rollout and a micro-batch, as actuators get them
checks            the checks that several of them share
bonus             base class of the entropy bonuses
clip              the PPO clip bounds
kl_coef           the coefficient of the KL penalty
entropy_bonus     a signed entropy bonus
clamped_bonus     a bonus on the entropy of the top tokens (AEnt)
clamped_head      that entropy in the model's forward
difficulty_bonus  a bonus by the difficulty of the prompt (AER)
sample_filter     completions of one sign only (Entrocraft)
sample_weight     positive against negative completions (EntroPIC)
covariance        tokens of high covariance (Clip-Cov, KL-Cov)
adaptive_target   the target of TRL's own adaptive coefficient (Skywork-OR1)
record_only       moves nothing

A new actuator is one file here with a subclass of [`~control.base.Actuator`], one row in `config/registry.py` and one
test.
"""
