"""The methods by name, and the lab without a clip of its own, for tests."""

CONTROLLED = ("es", "es_pid", "aer", "aent", "entrocraft", "entropic")
OPEN = ("grpo", "dapo", "qae", "pass_at_k", "clip_cov", "kl_cov")
PLAIN = {"epsilon_high": ...}  # left out: the lab's arguments have DAPO's
