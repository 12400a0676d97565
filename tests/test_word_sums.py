"""Arithmetic in words: what is asked, what is held out, and that the right answers are right."""

import collections
import json

import pytest
from judged_here import judged_here  # noqa: F401, for pytest
from launching import ROOT
from smollm_data import in_smollm_folder  # noqa: F401, for pytest

from es_trl.lab.word_sums import in_words, word_sums, write_word_sums
from es_trl.recipe import RecipeParser
from es_trl.rewards import math_reward


NUMBERS = {in_words(number): number for number in range(30)}
OPERATIONS = {
    "times": (1, lambda a, b: a * b),
    "plus": (2, lambda a, b: a + b),
    "minus": (3, lambda a, b: a - b),
}


def read(row):
    """Operation, numbers, and the answer that they have, of a question."""
    left, operation, right = row["question"].lower().split()
    level, value = OPERATIONS[operation]
    assert level == row["level"]
    return operation, NUMBERS[left], NUMBERS[right], value(NUMBERS[left], NUMBERS[right])


def test_numbers_in_words():
    assert len(NUMBERS) == 30
    assert [in_words(n) for n in (0, 12, 13, 20, 21, 24)] == [
        "zero", "twelve", "thirteen", "twenty", "twenty-one", "twenty-four",
    ]  # fmt: skip


def test_every_question_is_there_once_with_its_answer():
    kept, held_out = word_sums()
    rows = [*kept, *held_out]
    assert all(row["answer"] == str(read(row)[3]) for row in rows)
    assert all(int(row["answer"]) > 0 and row["question"][0].isupper() for row in rows)
    questions = {row["question"] for row in rows}
    assert len(questions) == len(rows) == 11 * 11 + 12 * 12 + 12 * 12
    counts = collections.Counter(row["level"] for row in rows)
    assert counts == {1: 121, 2: 144, 3: 144}


def test_nothing_held_out_is_trained_on_in_any_order_of_its_numbers():
    def pairs(rows):
        found = set()
        for row in rows:
            operation, left, right, value = read(row)
            # 12 - 5 and 12 - 7 are one pair, as 5 + 7 and 7 + 5
            found.add((operation, *sorted((value if operation == "minus" else left, right))))
        return found

    kept, held_out = word_sums()
    assert pairs(kept) & pairs(held_out) == set()
    for operation in OPERATIONS:
        own = [sum(each[0] == operation for each in pairs(rows)) for rows in (kept, held_out)]
        assert 0.2 <= own[1] / sum(own) < 0.22


def test_the_task_is_always_the_same(tmp_path):
    assert word_sums() == word_sums()
    write_word_sums(tmp_path)
    kept, held_out = word_sums()
    for name, rows in (("train", kept), ("held_out", held_out)):
        assert [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()] == rows
    assert len({row["level"] for row in kept[:16]}) == 3  # in random order


@pytest.mark.parametrize("name", ["smollm_es", "smollm_lora", "smollm_curriculum"])
def test_recipes_train_and_evaluate_on_different_prompts(name, in_smollm_folder):  # noqa: F811
    recipe = RecipeParser().parse(["--config", str(ROOT / "recipes" / f"{name}.yaml")])
    datasets = {key: recipe.task.load(args) for key, args in recipe.data.named().items()}
    (held_out,) = [recipe.task.load(args) for args in recipe.data.evaluated().values()]
    prompts = datasets["train"]["prompt"][:]
    assert len(prompts) == 327 and len(held_out) == 40 and not set(prompts) & set(held_out["prompt"][:])
    assert all(prompt.startswith("Two plus three is 5.\n") and prompt.endswith(" is") for prompt in prompts)
    if name == "smollm_curriculum":
        hard = datasets["hard"]["prompt"][:]
        assert set(hard) < set(prompts) and all(" minus " in prompt.splitlines()[-1] for prompt in hard)


@pytest.mark.slow
def test_the_math_reward_finds_an_answer_right_and_its_neighbours_wrong():
    answers = sorted({row["answer"] for part in word_sums() for row in part})[::5]
    for form in (" {}.\n", " {}", "{}\n\n", " {} is right"):
        for change in (0, 1, -1, 10):
            texts = [form.format(int(answer) + change) for answer in answers]
            rewards = math_reward(texts, answers)
            assert set(rewards) == {1.0 if change == 0 else -1.0}, (form, change)
