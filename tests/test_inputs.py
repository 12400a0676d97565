import json
import os
import shutil
from pathlib import Path

import pytest
from datasets import Dataset, IterableDataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig
from trl.rewards import accuracy_reward, get_soft_overlong_punishment
from wrong_configurations import is_one_sentence

from es_trl import ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


CHATS = Dataset.from_dict({"prompt": [[{"role": "user", "content": str(i)}] for i in range(8)]})
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
ALL = (*TOKENIZER, "config.json", "generation_config.json", "model.safetensors")


@pytest.fixture
def folder(tmp_path):
    """A function that makes a model's folder with some of the lab's files, and others."""

    def make(*names, **others):
        path = tmp_path / "model"
        path.mkdir()
        for name in names:
            shutil.copy(Path(BASE_MODEL) / name, path)
        for name, content in others.items():
            if name.endswith(".safetensors"):
                (path / name).write_bytes((Path(BASE_MODEL) / "model.safetensors").read_bytes()[:1000])
                continue
            text = content if isinstance(content, str) else json.dumps(content)
            (path / f"{name}.json").write_text(text)
        return str(path)

    return make


@pytest.fixture
def build(lab_args):
    """A function that makes a trainer of whatever it is given."""

    def make(model=BASE_MODEL, reward=countdown_reward, data=None, evaluation=None, args=None, given=None, **changes):
        data = countdown_dataset(16, seed=1) if data is None else data
        return ESGRPOTrainer(model, reward, args or lab_args(**changes), data, evaluation, **(given or {}))

    return make


def refused(build, *args, **kwargs):
    with pytest.raises(ValueError) as refusal:
        build(*args, **kwargs)
    assert is_one_sentence(str(refusal.value)), str(refusal.value)
    return str(refusal.value)


def without(*names):
    return [name for name in ALL if name not in names]


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize(
    ("names", "others", "words"),
    [
        ((), {}, "a folder without a config.json"),
        ((), {"adapter_config": {"base_model_name_or_path": BASE_MODEL}}, "an adapter without its base model"),
        (without("config.json"), {}, "a folder without a config.json"),
        (without("config.json"), {"config": "{torn"}, "config.json cannot be read (It looks like the config file"),
        (without("config.json"), {"config": {}}, "config.json cannot be read (Unrecognized model"),
        (without("config.json"), {"config": []}, "config.json cannot be read"),
        (without("config.json"), {"config": {"model_type": "newer_than_this"}}, "model type `newer_than_this`"),
        (without("config.json"), {"config": {"model_type": "qwen2"}}, "has no `architectures`"),
        (
            without("config.json"),
            {"config": {"model_type": "bert", "architectures": ["BertModel"]}},
            "cannot generate text",
        ),
        (without("model.safetensors"), {}, "has no weights: put model.safetensors into it"),
        (
            without("model.safetensors"),
            {"model.safetensors": None},
            "model.safetensors cannot be read (Error while deserializing header",
        ),
        (
            without("model.safetensors"),
            {"model.safetensors.index": {"weight_map": {"a": "part.safetensors"}}, "part.safetensors": None},
            "part.safetensors cannot be read (Error while deserializing header",
        ),
        (
            without("model.safetensors"),
            {"model.safetensors.index": {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}},
            "lacks model-1.safetensors, model-2.safetensors",
        ),
        (
            without("model.safetensors"),
            {"model.safetensors.index": "{torn"},
            "model.safetensors.index.json cannot be read",
        ),
        (without(*TOKENIZER), {}, "has no tokenizer: give a `processing_class`"),
        (without("tokenizer.json"), {"tokenizer": "{torn"}, "the tokenizer of"),
    ],
)
def test_a_models_folder_lacks_something(names, others, words, folder, build):
    assert words in refused(build, folder(*names, **others))


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no/such/folder/here", "the model is 'no/such/folder/here', which is a folder that does not exist"),
        ("~/model", "which is a folder that does not exist"),
        ("someone/model", "which is not a folder and cannot be read from the Hub (We couldn't connect to"),
        ("", "which is a folder that does not exist"),
        (None, "`model` must be a folder or a name as text, or a PreTrainedModel, got None"),
        (Path(BASE_MODEL), "`model` must be a folder or a name as text"),
    ],
)
def test_a_models_name_is_none(model, words, build):
    assert words in refused(build, model)


def test_a_model_that_is_given_needs_a_tokenizer(build):
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    assert "the model has no name by which its tokenizer can be found: give a `processing_class`" in refused(
        build, model
    )
    assert "`processing_class` must be a tokenizer" in refused(build, given={"processing_class": BASE_MODEL})
    named = AutoModelForCausalLM.from_pretrained(BASE_MODEL)
    assert build(named).processing_class.eos_token_id is not None


def test_chats_need_a_chat_template(build):
    words = "has no chat template: set `prompt_format: text`"
    assert words in refused(build, data=CHATS)
    assert words in refused(build, evaluation=CHATS)
    assert words in refused(build, evaluation={"first": CHATS})
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    build(data=CHATS, given={"processing_class": tokenizer})


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("accuracy_rewrd", "as `from trl.rewards import accuracy_reward`"),
        ("accuracy_reward", "as `from trl.rewards import accuracy_reward`"),
        (["math_rewards"], "as `from es_trl.rewards import math_reward`"),
        (
            [countdown_reward, "someone/judge"],
            "the reward model is 'someone/judge', which is not a folder and cannot be read from the Hub",
        ),
        ("/no/judge", "the reward model is '/no/judge', which is a folder that does not exist"),
        (
            [countdown_reward, None],
            "`reward_funcs` must hold functions, reward models or names of reward models, got None",
        ),
        (type(get_soft_overlong_punishment(1, 0)), "or an object that can be called"),
        (None, "No reward source provided: give at least one"),
        ([], "No reward source provided: give at least one"),
    ],
)
def test_a_reward_is_none(reward, words, build):
    assert words in refused(build, reward=reward)


@pytest.mark.usefixtures("no_weights_load")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"reward": [countdown_reward, accuracy_reward], "reward_weights": [1.0]},
            "(1) must match number of reward functions (2)",
        ),
        (
            {"eval_strategy": "steps", "eval_steps": 2},
            "is 'steps' but the trainer has no `eval_dataset`",
        ),
        (
            {"data": IterableDataset.from_generator(lambda: iter(())), "max_steps": -1},
            "`max_steps` must be > 0 when",
        ),
        ({"data": [{"prompt": "1"}]}, "must be a `Dataset` or `IterableDataset`, got `list`"),
        ({"report_to": "clearml"}, "`report_to` names clearml, which is not installed"),
    ],
)
def test_what_does_not_go_together(changes, words, build):
    assert words in refused(build, **changes)


@pytest.mark.usefixtures("no_weights_load")
def test_trls_own_configuration_is_refused(tmp_path, build):
    args = GRPOConfig(str(tmp_path), num_generations=4, use_cpu=True, bf16=False, report_to="none")
    assert "`args` must be an ESGRPOConfig, got GRPOConfig: give an ESGRPOConfig" in refused(build, args=args)


def test_a_run_of_no_updates_is_refused_and_evaluation_is_not(build):
    trainer = build(
        max_steps=0, num_train_epochs=0, evaluation=countdown_dataset(4, seed=2), per_device_eval_batch_size=4
    )
    assert "eval_reward" in trainer.evaluate()
    assert "`max_steps` or `num_train_epochs` must be above 0, got 0 and 0" in refused(trainer.train)


def test_a_reward_may_change_the_working_directory(build, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def wanders(completions, **kwargs):
        os.chdir(tmp_path / "elsewhere")
        return [float(len(text)) for text in completions]

    trainer = build(reward=wanders, output_dir="run", save_strategy="steps", save_steps=4)
    trainer.train()
    trainer.save_model()
    assert trainer.args.output_dir == str(tmp_path / "run") and not list((tmp_path / "elsewhere").iterdir())
    for name in ("es_history.jsonl", "README.md", "model.safetensors", "checkpoint-4/es_state.json", "checkpoint-8"):
        assert (tmp_path / "run" / name).exists(), name
    assert len((tmp_path / "run" / "es_history.jsonl").read_text().splitlines()) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_refused(build, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "(Permission denied)" in refused(build)


def test_no_rewards_at_all_are_said(build):
    trainer = build(
        reward=lambda completions, **kwargs: [None] * len(completions), dynamic_sampling_tries=1, max_steps=4
    )
    with pytest.raises(ValueError, match="because no reward function gave a reward for any of its completions"):
        trainer.train()
