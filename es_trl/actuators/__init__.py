"""The actuators, one file per method, and the objects that connect them with the loss.

- `actuation.py`: the actuators of a run with their present settings, as the loss applies them.
- `batch.py`: the scores of a rollout and the micro-batches, as actuators receive them.
- `checks.py`: checks that several actuators share.
- `bonus.py`: base class of the entropy bonuses.
- `clip.py`: the PPO clip bounds.
- `kl_coef.py`: the coefficient of the KL penalty.
- `entropy_bonus.py`: a signed entropy bonus.
- `clamped_bonus.py`: a bonus on the entropy of the top tokens (AEnt).
- `clamped_head.py`: the entropy of the top tokens, computed in the model's forward pass.
- `difficulty_bonus.py`: an entropy bonus that is larger for hard prompts (AER).
- `sample_filter.py`: training on the completions of one sign (Entrocraft).
- `sample_weight.py`: weights of positive and negative completions (EntroPIC).
- `quantile_baseline.py`: advantages from a quantile of the rewards (QAE).
- `pass_at_k.py`: advantages of groups of k completions (pass@k training).
- `repo.py`: advantages that depend on the probability of a token (REPO-R).
- `flex_clip.py`: clip bounds that depend on the probability of a token (FlexEC).
- `ce_gppo.py`: a bounded gradient for tokens beyond the clip (CE-GPPO).
- `covariance.py`: actions on the tokens of high covariance (Clip-Cov, KL-Cov).
- `adaptive_target.py`: the target of TRL's adaptive entropy coefficient (Skywork-OR1).
- `record_only.py`: an actuator that moves nothing.

A new actuator needs one file here with a subclass of [`~control.base.Actuator`], one row in `config/registry.py` and
one test.
"""
