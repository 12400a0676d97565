"""The evaluation data of a recipe: what is loaded, refused and warned about."""

import json
import logging

import pytest
import yaml
from datasets import Dataset

from es_trl.__main__ import main as cli
from es_trl.data.arguments import DataArguments
from es_trl.data.evaluation import count_seen
from es_trl.run import run_recipe


RUN = {
    "model_name_or_path": None, "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none",
    "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "steps_per_generation": 4, "logging_steps": 1,
    "num_generations": 4, "max_completion_length": 12, "max_steps": 4, "save_strategy": "no", "disable_tqdm": True,
    "reward": "countdown",
}  # fmt: skip
EVAL = {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 8, "eval_pass_at_k": [1, 4]}
ROWS = [
    {"prompt": f"{a} {b} 3={a + b + 3}:", "numbers": [a, b, 3], "target": a + b + 3, "level": a}
    for a in range(1, 8)
    for b in range(1, 8)
]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A function that writes a recipe of the lab, whose data are files beside it."""
    monkeypatch.chdir(tmp_path)
    for name, rows in (("train", ROWS[:30]), ("test", ROWS[27:35])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def write(**changes):
        content = {**RUN, "dataset_name": "train.jsonl", "output_dir": str(tmp_path / "run"), **EVAL, **changes}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
        return str(path)

    return write


def sizes(trainer):
    data = trainer.eval_dataset
    return {name: len(own) for name, own in data.items()} if isinstance(data, dict) else len(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "expected", "metrics"),
    [
        ({"eval_dataset_name": "test.jsonl"}, 8, ["eval_pass@1", "eval_pass@4"]),
        ({"eval_dataset_split": "train[:5]"}, 5, ["eval_pass@1", "eval_pass@4"]),
        ({"eval_dataset_filter": {"level": [2, 2]}}, 7, ["eval_pass@1", "eval_pass@4"]),
        (
            {"eval_datasets": {"a": {"dataset_name": "test.jsonl"}, "b": {"dataset_split": "train[:3]"}}},
            {"a": 8, "b": 3},
            ["eval_a_pass@1", "eval_a_pass@4", "eval_b_pass@1", "eval_b_pass@4"],
        ),
        ({"eval_dataset_name": "test.jsonl", "eval_pass_at_k": None}, 8, []),
    ],
)
def test_a_recipe_evaluates(changes, expected, metrics, recipe):
    trainer = run_recipe(["--config", recipe(**changes)])
    assert sizes(trainer) == expected
    logged = {name for line in trainer.state.log_history for name in line if "pass@" in name}
    assert sorted(logged) == metrics


@pytest.mark.slow
def test_countdown_needs_no_data(recipe):
    path = recipe(dataset_name=None, eval_steps=4, per_device_eval_batch_size=400)
    trainer = run_recipe(["--config", path, "--eval_pass_at_k", "1", "2"])
    assert sizes(trainer) == 200 and trainer.args.eval_pass_at_k == [1, 2]
    again = run_recipe(["--config", path, "--seed", "8", "--output_dir", "other", "--dataset_name", "countdown:3"])
    assert again.eval_dataset["prompt"][:] == trainer.eval_dataset["prompt"][:]  # the same in every run
    assert again.train_dataset["prompt"][:200] != trainer.train_dataset["prompt"][:200]


@pytest.mark.slow
def test_prompts_that_are_also_in_training_are_counted(recipe, caplog):
    with caplog.at_level(logging.WARNING):
        run_recipe(["--config", recipe(eval_dataset_name="test.jsonl")])
    (line,) = [message for message in caplog.messages if "also prompts of training" in message]
    assert line == "3 of the 8 prompts in 'eval' are also prompts of training"


def test_prompts_are_counted_by_hand():
    chats = [[{"role": "user", "content": text}] for text in "abc"]
    train = [Dataset.from_dict({"prompt": chats[:1]}), Dataset.from_dict({"prompt": ["d"]})]
    evaluated = {"a": Dataset.from_dict({"prompt": chats}), "b": Dataset.from_dict({"prompt": ["d", "e", "d"]})}
    assert count_seen(train, evaluated) == {"a": 1, "b": 2} and count_seen(train, {}) == {}


def test_what_a_plan_says(recipe, capsys):
    assert cli(["plan", recipe(eval_dataset_name="test.jsonl")]) == 0
    assert "evaluation  8 prompts in 'eval', 3 of them also in training\n" in capsys.readouterr().out
    assert cli(["plan", recipe(eval_datasets={"a": {"dataset_split": "train[:5]"}}, dataset_split="train[5:]")]) == 0
    assert "evaluation  5 prompts in 'a'\n" in capsys.readouterr().out


REFUSED = [
    ({"eval_dataset_name": "nothing.jsonl"}, "the dataset nothing.jsonl does not exist"),
    ({"eval_datasets": {"a": {"dataset_name": "nothing.jsonl"}}}, "the dataset nothing.jsonl does not exist"),
    ({}, "`eval_strategy` is steps but the recipe names no data of evaluations: set eval_dataset_name"),
    ({"eval_strategy": "no"}, "`eval_pass_at_k` is set but `eval_strategy` is no, so the recipe never evaluates"),
    (
        {"eval_strategy": "no", "eval_pass_at_k": None, "eval_dataset_name": "test.jsonl"},
        "`eval_dataset_name` is set but `eval_strategy` is no",
    ),
    ({"eval_dataset_name": 3}, "`eval_dataset_name` must be text, got 3"),
    ({"eval_dataset_filter": {"level": [90, 99]}}, "`dataset_filter` keeps no row"),
    ({"eval_dataset_name": "test.jsonl", "eval_datasets": {"a": {}}}, "name all datasets of evaluations in"),
    ({"eval_datasets": {"a": {"dataset": "test.jsonl"}}}, "`eval_datasets` has an unknown key 'dataset' for 'a'"),
    ({"eval_datasets": {"a": "test.jsonl"}}, "`eval_datasets` has 'test.jsonl' for 'a': set a mapping"),
    ({"eval_datasets": ["test.jsonl"]}, "`eval_datasets` must be a mapping"),
    ({"eval_dataset_name": "test.jsonl", "eval_pass_at_k": [8]}, "must be at most the 4 completions per prompt"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_plan_and_run_refuse_the_same(changes, message, recipe, capsys, no_weights_load):
    path = recipe(**changes)
    for command in ("plan", "train"):
        assert cli([command, path]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and message in error, error


def test_keys_that_are_not_set_are_the_training_s():
    args = DataArguments("a.jsonl", dataset_split="train[5:]", dataset_filter={"level": [0, 2]}, answer_column="answer")
    assert args.evaluated() == {}
    other = DataArguments(**{**vars(args), "eval_dataset_name": "b.jsonl", "eval_dataset_filter": {}})
    (own,) = other.evaluated().values()
    assert (own.dataset_name, own.dataset_split, own.dataset_filter) == ("b.jsonl", "train[5:]", {})
    assert own.answer_column == "answer" and own.evaluated() == {} and other.named() == args.named()
