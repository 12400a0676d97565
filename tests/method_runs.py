"""The methods by name, and the lab without a clip of its own, for tests."""

CONTROLLED = ("es", "es_pid", "mai", "aer", "aent", "entrocraft", "entropic", "repo_r")
OPEN = ("grpo", "dapo", "flexec", "ce_gppo", "qae", "pass_at_k", "clip_cov", "kl_cov")
PLAIN = {"epsilon_high": ...}  # left out: the lab's arguments have DAPO's
