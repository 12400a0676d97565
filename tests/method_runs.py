"""The methods by name, and the lab without a clip of its own, for tests."""

CONTROLLED = ("es", "es_pid", "mai", "aer", "aent", "entrocraft", "entropic")
OPEN = ("grpo", "dapo", "clip_cov", "kl_cov")
PLAIN = {"epsilon_high": ...}  # left out: the lab's arguments have DAPO's
