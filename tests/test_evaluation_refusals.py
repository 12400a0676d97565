"""What an evaluation refuses, in one sentence."""

import json
import logging

import pytest
from evaluations import evaluated, lab_settings

from es_trl.__main__ import main as cli
from es_trl.evaluation import read_evaluation
from es_trl.lab import BASE_MODEL


LAB = ["--reward", "countdown"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "`reward` must be set where no recipe of a run sets it: set math or my_file.py:my_reward"),
        (
            [*LAB, "--n", "4", "--k", "1,8"],
            "`k` must be from 1 to `n`, which is 4, got 8: remove it, or set a larger n",
        ),
        ([*LAB, "--k", "0"], "`k` must be from 1 to `n`, which is 256, got 0"),
        ([*LAB, "--n", "0"], "`n` must be at least 1, got 0"),
        ([*LAB, "--batch_size", "-1"], "`batch_size` must be at least 1, got -1"),
        ([*LAB, "--temperature", "nan"], "`temperature` must be a number >= 0, got nan"),
        ([*LAB, "--top_p", "0"], "`top_p` must be above 0 and at most 1, got 0.0"),
        ([*LAB, "--seed", "-1"], "`seed` must be from 0 to"),
        ([*LAB, "--split", "train[9:9]"], "`dataset_split` must name rows of countdown:3, got 'train[9:9]'"),
        ([*LAB, "--split", "test"], "`dataset_split` must be 'train' for the generated prompts countdown:3"),
        ([*LAB, "--data", "none.jsonl"], "the dataset none.jsonl does not exist"),
        (["--reward", "math"], "`--data` must be set: name a dataset of the Hub"),
        (["--reward", "maths"], "`reward` must be math, countdown"),
        (["--reward", "math", "--data", "EMPTY"], "is empty: set dataset_name to a file with prompts"),
    ],
)
def test_one_line(words, line, tmp_path, capsys, monkeypatch, no_weights_load):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    words = ["empty.jsonl" if word == "EMPTY" else word for word in words]
    assert cli(["eval", BASE_MODEL, *words, "--output_dir", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert line in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "a folder without a config.json: give the folder of a saved model"),
        ({"config.json": "{"}, "whose config.json cannot be read"),
        ({"adapter_config.json": "{"}, "adapter_config.json cannot be read"),
        ({"adapter_config.json": '{"r": 4}'}, "adapter_config.json cannot be read"),
        ({"adapter_config.json": '{"base_model_name_or_path": "/no/where"}'}, "the base model of the adapter"),
    ],
)
def test_a_model_that_cannot_be_read(files, words, tmp_path, capsys):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cli(["eval", str(tmp_path), *LAB, "--output_dir", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert words in line and len(line.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli(["eval", BASE_MODEL, *LAB, "--output_dir", str(tmp_path / "file" / "out")]) == 2
    assert "(Not a directory): set another --output_dir" in capsys.readouterr().err


def test_the_file_has_its_form(tmp_path):
    _, result = evaluated(tmp_path, ks=(1, 3))
    names = "model data rewards problems n temperature top_p max_new_tokens seed correct truncated tokens avg@n pass@k"
    assert list(result) == [*names.split(), "pass^k", "interval", "versions"]
    assert result["interval"] == {"level": 0.95, "resamples": 10000, "over": "problems"}
    assert list(result["pass@k"]) == ["1", "3"] and list(result["pass@k"]["3"]) == ["value", "low", "high"]
    mean = sum(result["correct"]) / 32
    assert result["avg@n"]["value"] == pytest.approx(mean) == result["pass@k"]["1"]["value"]
    found = read_evaluation(tmp_path)
    assert found.as_json() == (tmp_path / "passk.json").read_text() and found.digest is not None
    assert lab_settings(n=6).grid == [1, 2, 4, 6] and lab_settings(n=256).grid == [2**at for at in range(9)]


@pytest.mark.parametrize("text", ["", "{}", "[]"])
def test_damaged_settings_beside_a_result(text, tmp_path):
    evaluated(tmp_path, n=1)
    (tmp_path / "eval.json").write_text(text)
    with pytest.raises(ValueError, match="eval.json cannot be read .*: run the evaluation again"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: None, "passk.json does not exist: give the folder of an evaluation that has ended"),
        (lambda content: "", "cannot be read"),
        (lambda content: content[:-30], "cannot be read"),
        (lambda content: "[]", "cannot be read"),
        (lambda content: content.replace('"pass^k"', '"pass_k"'), "cannot be read (lacks 'pass^k')"),
        (
            lambda content: content.replace('"problems": 2', '"problems": 3'),
            "`correct` must have 3 numbers from 0 to 4",
        ),
        (lambda content: content.replace('"correct": [1', '"correct": [9'), "`correct` must have 2 numbers"),
        (lambda content: content.replace('"correct": [1', '"correct": [true'), "`correct` must have 2 numbers"),
        (lambda content: content.replace('"value"', '"values"'), "cannot be read (lacks 'value')"),
        (lambda content: content.replace('{"1": ', '{"9": '), "each k must be from 1 to 4"),
    ],
)
def test_a_damaged_result(damage, words, tmp_path):
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    content = {"model": "m", "data": "d", "rewards": ["math"], "problems": 2, "n": 4, "temperature": 1.0, "top_p": 1.0}
    content |= {"max_new_tokens": 8, "seed": 0, "correct": [1, 3], "truncated": 0.0, "tokens": 2.0, "avg@n": interval}
    content |= {"pass@k": {"1": interval}, "pass^k": {"1": interval}, "interval": {}, "versions": {}, "seconds": 1.0}
    text = json.dumps(content)
    (tmp_path / "passk.json").write_text(text)
    assert read_evaluation(tmp_path).correct == [1, 3]
    (tmp_path / "passk.json").unlink()
    if (damaged := damage(text)) is not None:
        (tmp_path / "passk.json").write_text(damaged)
    with pytest.raises(ValueError) as refusal:
        read_evaluation(tmp_path)
    assert words in str(refusal.value) and str(tmp_path / "passk.json") in str(refusal.value)


@pytest.mark.parametrize(
    "value", ["None", "0.5", "(0 for _ in completions)", "['a'] * len(completions)", "[1j] * len(completions)"]
)
def test_a_reward_of_another_form_is_named(value, tmp_path, capsys):
    (tmp_path / "own.py").write_text(f"def own(completions, **_):\n    return {value}\n")
    words = ["--reward", f"{tmp_path}/own.py:own", "--data", "countdown:3", "--n", "1"]
    data = tmp_path / "task.jsonl"
    data.write_text('{"prompt": "3 5 2=17:"}\n')
    words[3] = str(data)
    code = cli(["eval", BASE_MODEL, *words, "--prompt_format", "text", "--output_dir", str(tmp_path / "out")])
    told = capsys.readouterr().err
    if value.startswith("("):
        assert code == 0  # a generator gives numbers, too
    else:
        assert code == 2 and "the reward 'own' must return a list of 1 numbers, one per completion, got" in told


def test_a_prompt_that_the_model_cannot_hold(tmp_path, caplog):
    (tmp_path / "task.jsonl").write_text(json.dumps({"prompt": "3" * 300, "numbers": [3], "target": 3}) + "\n")
    words = ["--reward", "countdown", "--data", str(tmp_path / "task.jsonl"), "--output_dir", str(tmp_path / "out")]
    logging.getLogger("es_trl").propagate = True
    assert cli(["eval", BASE_MODEL, *words, "--n", "1", "--max_new_tokens", "2"]) == 0
    assert "the prompt of problem 0 has 300 tokens but the model has 256 positions" in caplog.text


def test_completions_without_a_reward_are_counted(tmp_path, caplog):
    (tmp_path / "own.py").write_text("def own(completions, **_):\n    return [None] * len(completions)\n")
    (tmp_path / "task.jsonl").write_text('{"prompt": "3 5 2=17:"}\n')
    words = ["--reward", f"{tmp_path}/own.py:own", "--data", str(tmp_path / "task.jsonl"), "--n", "2"]
    logging.getLogger("es_trl").propagate = True
    assert cli(["eval", BASE_MODEL, *words, "--prompt_format", "text", "--output_dir", str(tmp_path / "out")]) == 0
    assert "2 of 2 completions got no reward (None or NaN) and count as wrong" in caplog.text
