"""What to expect of an actuator: its effect on the entropy of a language model, as it was measured.

Source: `docs/results/authority.md`; a test compares the numbers with the data.
"""

from collections.abc import Sequence

from ..actuators.clip import ClipActuator, ClipHighActuator
from ..actuators.entropy_bonus import EntropyBonusActuator
from ..actuators.kl_coef import KLCoefActuator
from ..actuators.repo import RepoActuator
from ..actuators.sample_weight import SampleWeightActuator
from ..common.shown import wrapped
from ..control.base import Actuator


MEASURED: dict[type[Actuator], str] = {
    ClipHighActuator: "epsilon_high 4 left 17% less entropy than 0, against the direction of Algorithm 1; from 0.28 "
    "to 4 no effect could be told from chance; it acts only on tokens whose ratio reaches it",
    ClipActuator: "from -0.65 to 1.3 it raised entropy by 5% on one set of prompts and lowered it by 3% on another, "
    "and it acts only on tokens whose ratio reaches it",
    EntropyBonusActuator: "a coefficient of 0.012 moved entropy by 5% in the first rollout, and one of 0.028 did so "
    "four rollouts later; a positive one raised entropy above where it was",
    KLCoefActuator: "a coefficient of 0.1 left 3% more entropy than none",
    RepoActuator: "from -0.05 to 0.05 it changed entropy by 1%, with no sure sign",
    SampleWeightActuator: "from -1 to 1 it left 44% more entropy; at 1 it raised entropy above where it was "
    "with 16 updates per rollout, and four rollouts later it did not",
}


def expected(actuators: Sequence[Actuator]) -> str:
    """Return a line per actuator that was measured, or an empty string."""
    found = [(actuator, MEASURED[type(actuator)]) for actuator in actuators if type(actuator) in MEASURED]
    if not found:
        return ""
    lines = [wrapped(f"{type(actuator).__name__}: {text}") for actuator, text in found]
    title = "measured on SmolLM2-135M: one rollout, learning rate 1e-5, up to three seeds (docs/results/authority.md)"
    return "\n".join([title, *lines]) + "\n"
