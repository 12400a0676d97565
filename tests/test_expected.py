"""What a plan says of an actuator is what was measured."""

import sys

import pytest
from launching import ROOT

from es_trl.__main__ import main as cli
from es_trl.actuators.clip import ClipHighActuator
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.record_only import RecordOnlyActuator
from es_trl.config.registry import PARTS
from es_trl.planning.expected import MEASURED, expected


sys.path.insert(0, str(ROOT / "benchmarks"))

from authority_report import DATA, ENDS, KEY, Subject, load  # noqa: E402


@pytest.fixture(scope="module")
def subjects():
    points = load(DATA, KEY)
    return {name: Subject(name, points) for name in dict.fromkeys(key[0] for key in points)}


def between(subject, kind):
    """The effect from one end of an actuator's range to the other, a share of the entropy in percent."""
    low, high = ENDS[kind]
    effect = subject.effect(high, subject.middle, low)
    return round(100 * effect.mean / effect.before)


def test_the_numbers_are_those_of_the_data(subjects):
    own, others = subjects["SmolLM2-135M"], subjects["SmolLM2-135M, two shots"]
    later = next(condition for condition in own.conditions if condition.warm)
    assert own.effect("clip_high 4", own.middle).verdict == "no sure sign" and between(own, "clip_high") == -17
    lab = subjects["lab"]
    scale = lab.bonus_for(0.05, next(each for each in lab.conditions if each.warm)) / own.bonus_for(0.05, later)
    assert f"the lab's by a factor of {scale:.0f}," in (ROOT / "docs/methods/es.md").read_text()
    numbers = {
        "clip_high": ("17% less", "from 0.28 to 4 no effect could be told from chance"),
        "clip": (f"by {between(own, 'clip')}%", f"by {-between(others, 'clip')}%"),
        "entropy_bonus": (f"{own.bonus_for(0.05, own.middle):.2g}", f"{own.bonus_for(0.05, later):.2g}"),
        "kl_coef": (f"{between(own, 'kl_coef')}% more",),
        "repo": (f"by {between(own, 'repo')}%",),
        "sample_weight": (f"{between(own, 'sample_weight')}% more",),
    }
    kinds = {kind: MEASURED[actuator] for kind, actuator in PARTS["entropy_actuator"].items() if actuator in MEASURED}
    assert kinds.keys() == numbers.keys()
    for kind, texts in numbers.items():
        assert all(text in kinds[kind] for text in texts), (kind, texts)


def test_four_rollouts_later_only_the_bonus_raised_entropy_above_where_it_was(subjects):
    own = subjects["SmolLM2-135M"]
    later = next(condition for condition in own.conditions if condition.warm)
    many = next(condition for condition in own.conditions if condition.updates == 16)
    falls = {setting: own.fall(setting, later) for setting in own.settings}
    assert [setting for setting, fall in falls.items() if fall and fall.mean > 0.0] == ["entropy_bonus 0.1"]
    assert own.fall("sample_weight 1", many).mean > 0.2


def test_a_plan_says_it_of_each_actuator_of_a_chain(capsys):
    recipe = str(ROOT / "recipes" / "countdown_es.yaml")
    assert cli(["plan", recipe, "--entropy_actuator", "[clip_high, entropy_bonus]"]) == 0
    printed = capsys.readouterr().out
    assert "ClipHighActuator: epsilon_high 4 left 17% less" in printed
    assert "EntropyBonusActuator: a coefficient of 0.012 moved" in printed
    assert expected([RecordOnlyActuator()]) == "" and expected([]) == ""
    assert expected([EntropyBonusActuator(), ClipHighActuator()]).count("Actuator: ") == 2
