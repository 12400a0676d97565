"""A method stands beneath the user's own values: what is named is kept, what contradicts it is refused."""

import copy
import dataclasses
import pickle

import pytest
from method_runs import PLAIN
from trl import TrlParser

from es_trl import ClampedBonusActuator, ESGRPOConfig, SampleFilterActuator
from es_trl.config.presets import describe_method
from es_trl.lab.config import lab_config
from es_trl.planning.plan import _planned_for
from es_trl.recipe import RecipeParser


CPU = {"use_cpu": True, "bf16": False}


@dataclasses.dataclass
class HigherClip(ESGRPOConfig):
    epsilon_high: float | None = 0.3


class InItsOwnWay(ESGRPOConfig):
    def __init__(self, folder):
        super().__init__(folder, epsilon=0.3, **CPU, method="clip_cov")


def from_yaml(tmp_path, text, *options, kind=ESGRPOConfig):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"output_dir: {tmp_path}\nuse_cpu: true\nbf16: false\n{text}\n")
    return RecipeParser(kind).parse(["--config", str(recipe), *options]).training


def clips(args):
    return args.epsilon, args.epsilon_high, args.delta


def test_a_constructor_that_names_the_default_is_heard(tmp_path):
    assert clips(ESGRPOConfig(str(tmp_path), method="clip_cov", **CPU)) == (1.0, 1.0, 10.0)
    assert clips(ESGRPOConfig(str(tmp_path), method="clip_cov", epsilon=0.2, **CPU)) == (0.2, 1.0, 10.0)
    assert clips(ESGRPOConfig(str(tmp_path), method="clip_cov", delta=None, **CPU)) == (1.0, 1.0, None)
    assert clips(ESGRPOConfig(str(tmp_path), method="es", epsilon_high=None, **CPU)) == (0.2, None, None)
    names = [each.name for each in dataclasses.fields(ESGRPOConfig) if each.init]
    first = ESGRPOConfig(str(tmp_path), **CPU)
    by_position = [getattr(first, name) for name in names[: names.index("learning_rate") + 1]]
    assert ESGRPOConfig(*by_position, method="clip_cov", **CPU).is_left_to_method("learning_rate") is False


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("method: clip_cov", [], (1.0, 1.0, 10.0)),
        ("method: clip_cov\nepsilon: 0.2", [], (0.2, 1.0, 10.0)),
        ("method: es\nepsilon_high: null", [], (0.2, None, None)),
        ("method: clip_cov", ["--epsilon", "0.2"], (0.2, 1.0, 10.0)),
        ("epsilon: 0.3", ["--method=clip_cov", "--epsilon=0.2"], (0.2, 1.0, 10.0)),
        ("method: clip_cov", ["--epsilon_high", "none", "--delta", "null"], (1.0, None, None)),
        ("method: clip_cov\nepsilon: 0.2", ["--method", "none"], (0.2, None, None)),
    ],
)
@pytest.mark.parametrize("kind", [ESGRPOConfig, _planned_for(2)], ids=["run", "plan"])
def test_a_recipe_and_its_options_are_heard(text, options, expected, kind, tmp_path):
    assert clips(from_yaml(tmp_path, text, *options, kind=kind)) == expected


@pytest.mark.parametrize("off", [None, "none", "null"])
def test_a_schedule_that_is_taken_away_stays_away(off, tmp_path):
    args = ESGRPOConfig(str(tmp_path), method="es", entropy_schedule=off, **CPU)
    assert args.build_parts() is None and args.epsilon_high == 0.28
    text = f"method: es\nentropy_schedule: {'null' if off is None else off}"
    assert from_yaml(tmp_path, text).build_parts() is None
    assert from_yaml(tmp_path, "method: es", "--entropy_schedule", str(off).lower()).build_parts() is None
    assert "entropy_schedule none (method es: stable_anneal)" in describe_method(args)


@pytest.mark.parametrize("off", [None, "none"])
@pytest.mark.parametrize(
    ("method", "block", "kind"),
    [("es", "entropy_controller", "sign_step"), ("clip_cov", "entropy_actuator", "clip_cov")],
)
def test_a_method_is_not_itself_without_its_parts(method, block, kind, off, tmp_path):
    with pytest.raises(
        ValueError, match=f"`{block}` must be of kind {kind} for method {method}, got none: leave `{block}` out"
    ):
        ESGRPOConfig(str(tmp_path), method=method, **{block: off}, **CPU)


def test_an_option_takes_the_recipes_block_away_and_the_methods_counts(tmp_path):
    text = "method: es_pid\nentropy_actuator: {kind: entropy_bonus, high: 1.0}"
    args = from_yaml(tmp_path, text, "--method", "aent", "--entropy_actuator", "none")
    assert args.build_parts()[2] == [ClampedBonusActuator()]
    with pytest.raises(ValueError, match="`entropy_actuator` must be of kind clamped_bonus for method aent, got {'kin"):
        from_yaml(tmp_path, text, "--method", "aent")
    with pytest.raises(ValueError, match="`entropy_actuator` must be of kind clamped_bonus for method aent, got none"):
        from_yaml(tmp_path, "method: aent", "--entropy_actuator", "none")


def test_a_field_that_makes_the_method_is_not_to_be_taken_away(tmp_path):
    words = "`use_adaptive_entropy` must be true for method skywork, got false: leave it out, or set another method"
    with pytest.raises(ValueError, match=words):
        ESGRPOConfig(str(tmp_path), method="skywork", use_adaptive_entropy=False, **CPU)
    with pytest.raises(ValueError, match=words):
        from_yaml(tmp_path, "method: skywork", "--no_use_adaptive_entropy")
    assert ESGRPOConfig(str(tmp_path), method="skywork", use_adaptive_entropy=True, **CPU).entropy_coef_max == 5e-3


def test_an_object_of_the_methods_kind_is_taken_and_another_refused(tmp_path):
    own = SampleFilterActuator(variant="code")
    args = ESGRPOConfig(str(tmp_path), method="entrocraft", entropy_actuator=own, **CPU)
    assert args.build_parts()[2] == [own]
    with pytest.raises(ValueError, match="`entropy_actuator` must be of kind clip_high for method es, got SampleFilt"):
        ESGRPOConfig(str(tmp_path), method="es", entropy_actuator=own, **CPU)


def test_departures_are_listed(lab_args):
    assert describe_method(lab_args(method="es", **PLAIN)).splitlines()[1:] == ["            with epsilon_high 0.28"]
    args = lab_args(
        method="aent",
        entropy_schedule={"kind": "cosine", "start": 0.4, "end": 0.1},
        entropy_controller={"gain": 0.1},
        entropy_actuator={"clamp": 0.0, "high": 9e-3},
        **PLAIN,
    )
    assert [line.strip() for line in describe_method(args).splitlines()[1:]] == [
        "entropy_schedule cosine (method aent: constant)",
        "entropy_controller.gain 0.1 (method aent: 0.002)",
        "entropy_actuator.clamp 0 (method aent: 0.33)",
    ]
    args = lab_args(method="clip_cov", epsilon=0.2, epsilon_high=None)
    assert [line.strip() for line in describe_method(args).splitlines()[1:]] == [
        "with delta 10",
        "epsilon 0.2 (method clip_cov: 1)",
        "epsilon_high none (method clip_cov: 1)",
    ]
    args = lab_args(method="es_pid", entropy_actuator=["clip_high", "clip"])
    assert "entropy_actuator [clip_high, clip] (method es_pid: entropy_bonus)" in describe_method(args)
    args = lab_args(method="dapo", max_completion_length=None, overlong_cache=0, **PLAIN)
    assert "dynamic_sampling_tries 10" in describe_method(args)


def test_the_start_of_a_run_lists_them(lab_trainer, capsys):
    lab_trainer(method="clip_cov", epsilon=0.2, max_steps=4, **PLAIN).train()
    assert "epsilon 0.2 (method clip_cov: 1)" in capsys.readouterr().out


def test_copies_remember_what_was_named(tmp_path):
    args = ESGRPOConfig(str(tmp_path), method="clip_cov", epsilon=0.2, **CPU)
    for again in (
        copy.copy(args),
        copy.deepcopy(args),
        pickle.loads(pickle.dumps(args)),
        dataclasses.replace(args, generation_batch_size=None),
    ):
        assert clips(again) == (0.2, 1.0, 10.0) and not again.is_left_to_method("epsilon")
        assert again.build_parts()[2] == args.build_parts()[2]


def test_a_parser_that_names_everything_is_no_users_word(tmp_path):
    words = (
        "`method` es has no effect, because every field is named: name fewer fields, parse a recipe with RecipeParser"
    )
    with pytest.raises(ValueError, match=words):
        TrlParser((ESGRPOConfig,)).parse_args_and_config(["--output_dir", str(tmp_path), "--method", "es", "--use_cpu"])
    schedule = '{"kind": "constant", "target": 0.4}'
    options = ["--output_dir", str(tmp_path), "--use_cpu", "--bf16", "false", "--entropy_schedule", schedule]
    (args,) = TrlParser((ESGRPOConfig,)).parse_args_and_config(options)
    assert args.build_parts()[0].target == 0.4


def test_subclasses_have_their_own_defaults(tmp_path):
    assert clips(HigherClip(str(tmp_path), method="clip_cov", **CPU)) == (1.0, 0.3, 10.0)
    assert clips(InItsOwnWay(str(tmp_path))) == (0.3, 1.0, 10.0)
    assert lab_config(str(tmp_path), 2, method="clip_cov", epsilon=0.2).epsilon == 0.2
    assert lab_config(str(tmp_path), 2, method="clip_cov").epsilon == 1.0
