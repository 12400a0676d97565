"""The methods by name, and the lab without a clip of its own, for tests."""

CONTROLLED = ("es", "es_pid", "aer", "aent", "entrocraft", "entropic")
OPEN = ("grpo", "dapo", "clip_cov", "kl_cov")
PLAIN = {"epsilon_high": ...}  # left out: the lab's arguments have DAPO's
ON_LAB = {  # bonuses in the lab's unit: published coefficients are those of models of billions of parameters
    "es_pid": {"entropy_actuator": {"low": -1.0, "high": 1.0}},
    "aer": {"entropy_controller": {"gain": 0.1}, "entropy_actuator": {"high": 0.5}},
    "aent": {"entropy_controller": {"gain": 0.1}, "entropy_actuator": {"low": 0.03, "high": 0.45, "start": 0.1}},
    "skywork": {"entropy_coef_delta": 0.005, "entropy_coef_max": 0.25},
}


def on_lab(method, **controller):
    """The fields of a method's run on the lab, with changes of its controller."""
    own = {"method": method, **PLAIN, **ON_LAB.get(method, {})}
    return {**own, "entropy_controller": {**own.get("entropy_controller", {}), **controller}} if controller else own
