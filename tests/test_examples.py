import importlib.util
import json
import re
import subprocess
import sys

import nbformat
import pytest
from execute_notebook import execute
from launching import LIMIT, ROOT, environment
from plain_entropy import plain_entropy
from transformers import AutoTokenizer

from es_trl import ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset
from es_trl.lab.config import lab_config
from es_trl.lab.countdown import format_prompt
from es_trl.trainer.sensor import completion_mask


EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "entropy_scheduling.ipynb"
DIGITS = re.compile(r"\d+\.\d+")


def run_example(name, folder, code="import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"):
    """What an example prints, run in `folder` as people run it."""
    command = [sys.executable, "-c", code, str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(text, row):
    """The number behind a row's name."""
    return float(re.search(rf"^{re.escape(row)} +([\d.-]+)", text, re.MULTILINE)[1])


def change(text, row):
    """The two numbers behind a row's name, `first -> last`."""
    first, last = re.search(rf"^{re.escape(row)} +([\d.-]+) -> ([\d.-]+)", text, re.MULTILINE).groups()
    return float(first), float(last)


# --- the notebook -----------------------------------------------------------------------------------------------------


def outputs(notebook):
    """The outputs of a notebook or of one cell."""
    return [output for cell in notebook.get("cells", [notebook]) for output in cell.get("outputs", [])]


def printed(notebook):
    return "\n".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def pictures(notebook):
    return [output.data["image/png"] for output in outputs(notebook) if "image/png" in output.get("data", {})]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    return execute(NOTEBOOK, folder), folder / "runs" / "notebook"


@pytest.mark.slow
def test_notebook_holds_its_schedule(executed):
    notebook, run = executed
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert [output.get("name") for output in outputs(notebook) if output.get("name") == "stderr"] == []
    text = printed(notebook)
    # without control they are 0.075 and 0.082
    assert number(text, "stable, from 10") < 0.045 and number(text, "anneal  ") < 0.045
    assert "the same entropy in every rollout: True" in text
    records = [json.loads(line) for line in (run / "es_history.jsonl").read_text().splitlines()]
    assert [record["rollout"] for record in records] == list(range(50))
    assert records[0]["target"] == 0.4 and records[-1]["target"] == pytest.approx(0.1)


@pytest.mark.slow
def test_live_figure_is_one_picture(executed):
    assert len(pictures(executed[0])) == 1


@pytest.mark.slow
def test_own_controller_is_simulated_before_it_trains(executed):
    rows = re.findall(r"^(\w+) +(lab|3x) +([\d.]+) +([\d.]+) +([\d.]+)$", printed(executed[0]), re.MULTILINE)
    errors = {(name, plant): [float(value) for value in values] for name, plant, *values in rows}
    assert len(errors) == 6
    for stable, anneal, floor in errors.values():
        assert floor < stable < 0.035 and floor < anneal < 0.045
    assert errors["LogPI", "lab"][1] < 0.6 * errors["PIDController", "lab"][1]


@pytest.mark.slow
def test_committed_outputs_are_those_of_an_execution(executed):
    committed = nbformat.read(NOTEBOOK, as_version=4)
    assert NOTEBOOK.stat().st_size < 300_000 and len(pictures(committed)) == 1
    assert not re.search(r"/(home|root|tmp|work|Users|usr|opt)/|\\Users", json.dumps(outputs(committed)))
    for then, now in zip(committed.cells, executed[0].cells, strict=True):
        if "train(" not in then.source:  # what is said during a run may differ between processors, as its digits may
            assert DIGITS.sub("#", printed(then)) == DIGITS.sub("#", printed(now))


# --- the scripts ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_preview_needs_no_torch(tmp_path):
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); assert 'torch' not in sys.modules"
    rows = run_example("preview_schedule.py", tmp_path, code).splitlines()
    # nats at 0, 20, 40, 60, 80 and 100 %
    assert rows[-3].split()[-6:] == ["0.400", "0.400", "0.400", "0.400", "0.400", "0.050"]
    assert rows[-2].split()[-6:] == ["0.400", "0.367", "0.279", "0.171", "0.083", "0.050"]
    assert rows[-1].split()[-6:] == ["0.400", "0.400", "0.400", "0.303", "0.174", "0.100"]
    assert rows[11].count("annealing from") == 3 and "annealing from 50%" in rows[11]


@pytest.mark.slow
def test_own_reward_rises_under_a_schedule(tmp_path):
    text = run_example("own_reward.py", tmp_path)
    for name in ("countdown_reward", "in_order"):
        first, last = change(text, name)
        assert last > first
    assert number(text, "rms error, anneal") < 0.05


@pytest.mark.slow
def test_own_actuator_holds_entropy(tmp_path):
    text = run_example("own_actuator.py", tmp_path)
    # an actuator that does nothing leaves 0.10 nats
    assert number(text, "rms error, stable") < 0.055


@pytest.mark.slow
def test_environment_is_called(tmp_path):
    text = run_example("environment.py", tmp_path)
    assert number(text, "calls of the tool") > 1.9
    assert 8.0 < number(text, "tokens the model wrote") < 16.0


def load_environment():
    spec = importlib.util.spec_from_file_location("environment", EXAMPLES / "environment.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.mark.parametrize("curriculum", [None, [{"start": 0.5, "num_generations": 8}]])
def test_environments_may_supply_the_prompts(curriculum, tmp_path):
    """The rows hold the task alone, and what `reset` returns is the question."""
    example = load_environment()

    class Asks(example.TwoTries):
        def reset(self, numbers, target, **row):
            super().reset([{"content": format_prompt(numbers, target)}], numbers, target)
            return self.question

    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    tokenizer.chat_template, tokenizer.response_template = example.CHAT, example.ANSWER
    changes = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 32}
    args = lab_config(str(tmp_path), 2, curriculum=curriculum, max_tool_calling_iterations=2, **changes)
    data = countdown_dataset(32, seed=1).remove_columns("prompt")
    trainer = ESGRPOTrainer(BASE_MODEL, None, args, data, processing_class=tokenizer, environment_factory=Asks)
    trainer.train()
    assert len(trainer.history.records) == 2 and trainer.history.records[-1]["entropy"] > 0.0
    assert all(re.search(r"\d=\d+:", prompt[-1]["content"]) for prompt in trainer._logs["prompt"])


def test_entropy_under_tools_is_of_what_the_model_wrote(tmp_path, monkeypatch):
    example = load_environment()
    trainer = example.make_trainer(str(tmp_path / "run"), rollouts=1, learning_rate=0.0, disable_tqdm=True)
    batches, compute_loss = [], trainer._compute_loss
    monkeypatch.setattr(
        trainer, "_compute_loss", lambda model, batch: batches.append(batch) or compute_loss(model, batch)
    )
    trainer.train()
    (record,) = trainer.history.records
    assert record["entropy"] == pytest.approx(plain_entropy(trainer, batches), rel=1e-5)
    written = sum(completion_mask(batch).sum().item() for batch in batches)
    assert record["completion_tokens"] == pytest.approx(written / 64)
    said = 0
    for batch in batches:
        of_tool = (batch["completion_mask"] * (1 - batch["tool_mask"])).bool()
        for ids, mask in zip(batch["completion_ids"], of_tool, strict=True):
            # the value of the answer and the question again, and nothing else
            assert re.fullmatch(r"(=[^=]+:[\d ]+=\d+:)*", trainer.processing_class.decode(ids[mask]))
            said += mask.sum().item()
    assert said > 64 * 8
    everything = [{name: batch[name] for name in batch if name != "tool_mask"} for batch in batches]
    assert abs(record["entropy"] - plain_entropy(trainer, everything)) > 0.01
