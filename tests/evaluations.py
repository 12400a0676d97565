"""Small evaluations of the lab's base model, for tests."""

import json

from es_trl.data import DataArguments
from es_trl.evaluation import EvaluationSettings, evaluate
from es_trl.lab import BASE_MODEL
from es_trl.rewards.named import RewardArguments


def lab_settings(**changes):
    """8 problems x 4 completions in 8 units."""
    data = DataArguments(dataset_name="countdown:3", dataset_split="train[:8]", prompt_format="text")
    values = {"n": 4, "max_new_tokens": 12, "batch_size": 4, "data": data, "reward": RewardArguments("countdown")}
    return EvaluationSettings(**{"model": BASE_MODEL, **values, **changes})


def outputs(folder):
    """The samples as bytes, and `passk.json` without the only fields that differ between equal evaluations."""
    result = json.loads((folder / "passk.json").read_text())
    return (folder / "samples.jsonl").read_bytes(), {name: each for name, each in result.items() if name != "seconds"}


def samples_of(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def evaluated(folder, **changes):
    """The outputs of an evaluation of the lab's base model."""
    evaluate(lab_settings(**changes), folder)
    return outputs(folder)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
