"""Every name of TRL and transformers that es_trl leans on. An upgrade that breaks a seam fails here or beside.

How the private ones behave stands in the files beside: `test_seams_rollout.py`, `test_seams_loss.py`,
`test_seams_layouts.py` and `test_seams_saves.py`.
"""

import ast
import configparser
import inspect
import re
from pathlib import Path

import pytest
import trl
from launching import ROOT
from package_source import MODULES, TREES
from packaging.requirements import Requirement
from seam_runs import probe
from transformers import Trainer
from transformers.integrations import TrackioCallback
from trl import GRPOConfig, GRPOTrainer, TrlParser

from es_trl import ESGRPOTrainer


SEAM_TESTS = sorted((ROOT / "tests").glob("test_seams*.py"))


def test_trl_is_in_the_range_that_is_declared():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (declared,) = [line for line in setup["options"]["install_requires"].split() if line.startswith("trl")]
    assert Requirement(declared).specifier.contains(trl.__version__)


def private_names(trainer):
    """The private attributes of TRL's trainer that the package names, as attributes, methods or replaced ones."""
    named = {
        name
        for tree in TREES.values()
        for node in ast.walk(tree)
        for name in (
            getattr(node, "attr", None) if isinstance(node, ast.Attribute) else None,
            node.name if isinstance(node, ast.FunctionDef) else None,
            node.arg if isinstance(node, ast.keyword) else None,
        )
        if name is not None and name.startswith("_") and not name.startswith("__")
    }
    # of a trainer with an engine, and of the module that has the fused head
    apart = named & {"_last_loaded_step", "_ChunkedLogProbFunction"}
    return apart | {name for name in named if hasattr(trainer, name)}


def held_names():
    """The names that the tests beside hold."""
    return {
        argument.value
        for path in SEAM_TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.seam"
        for argument in node.args
    }


def test_each_private_name_has_a_test_of_its_behaviour(tmp_path):
    own = {"_name", "_tag_names", "_paper"}  # what a card calls the trainer: es_trl sets them for TRL
    found = private_names(probe(tmp_path, GRPOTrainer)) - own
    assert len(found) > 20 and found - held_names() == set()


def test_no_test_holds_a_name_that_es_trl_has_left():
    package = "".join(path.read_text() for path in MODULES.values())
    assert {name for name in held_names() if not re.search(rf"\b{name}\b", package)} == set()


def overrides():
    """The methods of es_trl's trainer that are TRL's or transformers' too."""
    own = [each for each in ESGRPOTrainer.__mro__ if each.__module__.startswith("es_trl.")]
    for kind in own:
        for name, method in vars(kind).items():
            if inspect.isfunction(method) and hasattr(GRPOTrainer, name) and name != "__init__":
                yield pytest.param(name, method, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize(("name", "method"), overrides())
def test_an_override_takes_what_the_method_takes(name, method):
    theirs = list(inspect.signature(inspect.unwrap(getattr(GRPOTrainer, name))).parameters.values())
    mine = inspect.signature(method)
    names = [each.name for each in theirs if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    rest = {each.kind for each in mine.parameters.values()}
    by_position = [each.name for each in mine.parameters.values() if each.kind == each.POSITIONAL_OR_KEYWORD]
    # whether a caller gives them by position or by name
    assert by_position[: len(names)] == names[: len(by_position)]
    if len(by_position) < len(names):
        assert {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= rest
    if any(each.kind == each.VAR_KEYWORD for each in theirs):
        assert inspect.Parameter.VAR_KEYWORD in rest


def test_every_override_is_looked_at():
    assert {param.values[0] for param in overrides()} >= {"_compute_loss", "_generate", "_save_checkpoint", "train"}


def test_arguments_of_the_trainer_keep_their_order():
    names = list(inspect.signature(GRPOTrainer).parameters)
    assert names[:5] == ["model", "reward_funcs", "args", "train_dataset", "eval_dataset"]
    assert {"callbacks", "reward_processing_classes", "environment_factory", "peft_config"} <= set(names[5:])
    assert "resume_from_checkpoint" in inspect.signature(Trainer.train).parameters


def test_config_and_parser():
    names = {f for f in GRPOConfig.__dataclass_fields__ if f.startswith("entropy_")}
    assert names == {"entropy_coef", "entropy_coef_delta", "entropy_coef_max", "entropy_coef_min", "entropy_target"}
    assert "model_init_kwargs" in GRPOConfig._VALID_DICT_FIELDS and not hasattr(GRPOConfig, "max_prompt_length")
    assert "fail_with_unknown_args" in inspect.signature(TrlParser.parse_args_and_config).parameters


def test_no_setting_of_ours_is_an_attribute_of_trls_trainer(tmp_path):
    trainer = probe(tmp_path, GRPOTrainer, epsilon=0.1, epsilon_high=0.3, beta=0.02)
    assert (trainer.epsilon_low, trainer.epsilon_high, trainer.beta) == (0.1, 0.3, 0.02)
    assert not hasattr(trainer, "entropy_bonus") and not hasattr(trainer, "entropy_target")
    assert probe(tmp_path, GRPOTrainer, epsilon=0.1, epsilon_high=None).epsilon_high == 0.1


def test_the_card_that_is_completed():
    template = (Path(trl.__file__).parent / "templates" / "lm_model_card.md").read_text()
    assert "[{{ base_model }}](https://huggingface.co/{{ base_model }})" in template


def test_a_tracker_on_the_hub_is_left_alone_when_it_is_switched_off(tmp_path, monkeypatch):
    trainer = probe(tmp_path, GRPOTrainer)
    trainer.args.trackio_static_space_id = False
    callback = TrackioCallback.__new__(TrackioCallback)
    callback._trackio = None  # any use of it would be an AttributeError
    callback._initialized = True
    callback.on_push_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
