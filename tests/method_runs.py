"""The methods by name, and the lab without a clip of its own, for tests."""

CONTROLLED = ("es", "es_pid", "mai", "aer", "aent", "entrocraft", "entropic", "repo_r")
OPEN = ("grpo", "dapo", "clip_cov", "kl_cov", "flexec", "ce_gppo")
PLAIN = {"epsilon_high": ...}  # left out: the lab's arguments have DAPO's
