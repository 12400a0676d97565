import json
import random
import time
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from es_trl.control.geometry import Geometry
from es_trl.evaluation import count_correct, summarize
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward, is_solution, make_base
from es_trl.lab.config import lab_config
from es_trl.lab.countdown import draw_task, evaluate, format_prompt


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3*5+2", 17),
        ("2+3*5", 17),
        ("(2+3)*5", 25),
        ("9-3-2", 4),
        ("8/3*3", 8),
        ("1/3", Fraction(1, 3)),
        ("((7))", 7),
        (" 3 + 4 ", 7),
        ("12", 12),
    ],
)
def test_values(expression, value):
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["", " ", "+", "3+", "+3", "-3", "3++4", "3 4", "(3", "3)", "()", "3()", "(3)(4)", "3*(4+", "1/0", "1/(2-2)",
     "2**3", "3^4", "3.5", "1e9", "0x10", "x", "__import__('os')", "３+４", "²", "٣", "03", "3\n4", "3,4",
     "9" * 65, "(" * 64],
)  # fmt: skip
def test_malformed_has_no_value(expression):
    assert evaluate(expression) is None


@pytest.mark.parametrize(
    ("expression", "right"),
    [
        ("3*5+2", True),
        ("2+5*3", True),
        ("(5*3)+2", True),
        ("3*5+2+0", False),  # a number too many
        ("15+2", False),  # not the given numbers
        ("5*3+1+1", False),
        ("3*5-2", False),  # another value
        ("3*5", False),  # a number unused
        ("3*5+2=17", False),
    ],
)
def test_solutions_of_3_5_2_to_17(expression, right):
    assert is_solution(expression, [3, 5, 2], 17) is right


def test_each_of_two_equal_numbers_is_used():
    assert is_solution("3*3+2", [3, 3, 2], 11) and not is_solution("3*2+5", [3, 3, 2], 11)


@given(st.text(max_size=200) | st.text("0123456789+-*/() ", max_size=64))
def test_nothing_hangs_or_crashes_the_checker(text):
    started = time.perf_counter()
    assert is_solution(text, [1, 2, 3], 6) in (True, False)
    assert time.perf_counter() - started < 1.0


@given(st.integers(0, 2**32), st.sampled_from([3, 4]))
def test_every_task_is_solvable(seed, count):
    numbers, target, expression = draw_task(random.Random(seed), count)
    assert len(numbers) == count and 1 <= target <= 99 and is_solution(expression, numbers, target)


def test_rewards():
    rewards = countdown_reward(["3*5+2", "3+5+2", "junk"], [[3, 5, 2]] * 3, [17] * 3, trainer_state=None)
    assert rewards == [1.0, -1.0, -1.0]


def test_dataset_is_a_function_of_its_arguments():
    first, again, other = (countdown_dataset(20, seed=seed) for seed in (1, 1, 2))
    assert first.to_list() == again.to_list() and first.to_list() != other.to_list()
    row = first[0]
    assert row["prompt"] == format_prompt(row["numbers"], row["target"])
    assert format_prompt([3, 5, 2], 17) == "3 5 2=17:"
    assert {len(numbers) for numbers in countdown_dataset(50, num_numbers=(4,))["numbers"]} == {4}


def test_base_model_is_small_and_has_the_skill_latent():
    assert sum(file.stat().st_size for file in Path(BASE_MODEL).iterdir()) < 2_000_000
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    counts = count_correct(model, tokenizer, countdown_dataset(64, seed=7), countdown_reward, samples=16)
    accuracy = summarize(counts, 16, ks=(1,))["pass@1"]
    assert 0.25 < accuracy < 0.5


def test_scoring_leaves_the_runs_random_numbers_alone():
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    score = [count_correct(model, tokenizer, countdown_dataset(4), countdown_reward, samples=4, seed=1)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    score.append(count_correct(model, tokenizer, countdown_dataset(4), countdown_reward, samples=4, seed=1))
    assert score[0] == score[1]


def test_configuration_of_a_short_run():
    geometry = Geometry.of(lab_config("run", rollouts=30))
    assert (geometry.prompts, geometry.num_generations, geometry.updates, geometry.rollouts) == (32, 8, 4, 30)
    longer = lab_config("run", rollouts=30, steps_per_generation=8, gradient_accumulation_steps=2, learning_rate=1e-5)
    assert Geometry.of(longer).rollouts == 30 and longer.learning_rate == 1e-5
    assert lab_config("run", rollouts=30, max_steps=7).max_steps == 7


def test_base_is_made_by_its_script(tmp_path):
    make_base.main([str(tmp_path), "--steps", "2", "--batch_size", "4"])
    made, shipped = (json.loads((Path(f) / "config.json").read_text()) for f in (tmp_path, BASE_MODEL))
    assert made == shipped
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / file).read_text() == (Path(BASE_MODEL) / file).read_text()


def test_tokenizer_reads_a_character_a_token():
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    text = "10 5 2=17:(3*5)+2-1/4"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text) and tokenizer.decode(ids) == text
    assert json.loads((Path(BASE_MODEL) / "config.json").read_text())["vocab_size"] == len(tokenizer)
