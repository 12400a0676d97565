"""Actuators, which a control moves. One file per idea, and the objects between them and the loss.

- `actuation.py`: the actuators of a run with their settings, as the loss applies them.
- `batch.py`: the scores of a rollout and a micro-batch, as actuators get them.
- `checks.py`: the checks that several of them share.
- `bonus.py`: base class of the entropy bonuses.
- `clip.py`: the PPO clip bounds.
- `kl_coef.py`: the coefficient of the KL penalty.
- `entropy_bonus.py`: a signed entropy bonus.
- `clamped_bonus.py`: a bonus on the entropy of the top tokens (AEnt).
- `clamped_head.py`: that entropy in the model's forward.
- `difficulty_bonus.py`: a bonus by the difficulty of the prompt (AER).
- `sample_filter.py`: completions of one sign only (Entrocraft).
- `sample_weight.py`: positive against negative completions (EntroPIC).
- `covariance.py`: tokens of high covariance (Clip-Cov, KL-Cov).
- `adaptive_target.py`: the target of TRL's own adaptive coefficient (Skywork-OR1).
- `record_only.py`: moves nothing.

A new actuator is one file here with a subclass of [`~control.base.Actuator`], one row in `config/registry.py` and one
test.
"""
