"""Prompts are text or chats that a model can answer, or their row is refused; a plan says the same."""

import json
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_here import judged_here  # noqa: F401, for pytest
from launching import ROOT

from es_trl.__main__ import main as cli
from es_trl.data import DataArguments, load_named, load_problems
from es_trl.data.prompts import load_rows
from es_trl.lab import countdown_dataset
from es_trl.lab.prompts import load_countdown


SHARED = Path(__file__).parents[2] / "shared" / "data"
USER = {"role": "user", "content": "1+1"}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "2"}
IMAGE, TEXT = {"type": "image", "image": "a.png"}, {"type": "text", "text": "1+1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prompts")


def written(folder, prompts, name="a.jsonl", **columns):
    rows = [{"prompt": prompt, "solution": "2", **columns} for prompt in prompts]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / name)


def prompts_of(folder, *prompts, **arguments):
    return load_problems(DataArguments(written(folder, prompts), **arguments))["prompt"][:]


BAD = [
    ("", "has an empty 'prompt': drop the row"),
    (" \n", "has an empty 'prompt'"),
    ([], "has an empty 'prompt'"),
    (None, "has no 'prompt': fill it in"),
    (5, "has 5 in 'prompt', which must hold text or a list of messages as"),
    (True, "has True in 'prompt'"),
    ("\ud800", "has no valid Unicode in 'prompt'"),
    (["hi"], "has the message 'hi' in 'prompt', which must have a role and a content: write the prompt as text or"),
    ([["hi"]], "has the message .'hi'. in 'prompt', which must have a role"),
    (USER, "has {'role': 'user', 'content': '1.1'} in 'prompt', which must hold text or a list of messages"),
    ({"text": "hi", "lang": {"to": "en"}}, "has a mapping .*: set prompt_column to a field .prompt.text, prompt.lang"),
    ([{"from": "human", "value": "hi"}], "which is ShareGPT's form: rename from to role .human to user"),
    ([SYSTEM, {"from": "human", "value": "hi"}], "which is ShareGPT's form"),
    ([{"role": "user"}], "which must have a role and a content"),
    ([{"content": "hi"}], "which must have a role and a content"),
    ([{"role": None, "content": "hi"}], "whose role must be text: set user, assistant or system"),
    ([{"role": 1, "content": "hi"}], "whose role must be text"),
    ([{"role": "user", "content": None}], "whose content must be text that is not empty, or a list of parts"),
    ([{"role": "user", "content": " "}], "whose content must be text that is not empty"),
    ([{"role": "user", "content": 5}], "whose content must be text"),
    ([{"role": "user", "content": []}], "whose content must be text"),
    ([{"role": "user", "content": ["hi"]}], "whose content must be text"),
    ([{"role": "user", "content": [{"type": "text"}]}], "whose content must be text"),
    ([{"role": "user", "content": [{"type": "text", "text": " "}]}], "whose content must be text"),
    ([{"role": "user", "content": {"text": "hi"}}], "whose content must be text"),
    ([{"role": "system", "content": ""}, USER], "whose content must be text"),
    ([USER, ANSWER], "has a chat in 'prompt' that ends with the role 'assistant': end it with a message of"),
    ([SYSTEM], "ends with the role 'system'"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "message"), BAD, ids=[json.dumps(prompt) for prompt, _ in BAD])
@pytest.mark.parametrize("good", ["1+1", [USER]], ids=["text", "chat"])
def test_what_is_no_prompt_is_refused_with_its_row(prompt, message, good, folder, capsys):
    with pytest.raises(ValueError, match=f"row 1 of .*a.jsonl .*{message}") as refusal:
        prompts_of(folder, good, prompt, good)
    assert len(str(refusal.value).splitlines()) == 1
    said = str(refusal.value)
    assert cli([*PLAN, "--dataset_name", str(folder / "a.jsonl")]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    with pytest.raises(ValueError, match="row 1 of .*2 rows are refused, and this is the first"):
        prompts_of(folder, good, prompt, prompt)


@pytest.mark.parametrize(("first", "second"), [("text", [USER]), ([USER], "text")])
def test_text_and_chats_do_not_mix(first, second, folder):
    kinds = ["a chat" if isinstance(prompt, list) else "text" for prompt in (first, second)]
    with pytest.raises(ValueError, match=f"row 2 of .* has {kinds[1]} in 'prompt', and row 0 has {kinds[0]}: give all"):
        prompts_of(folder, first, first, second)


@settings(deadline=None, max_examples=50)
@given(st.text().filter(str.strip), st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_text_becomes_one_message_or_stays(folder, text, suffix):
    text, suffix = (part.encode("utf-8", "ignore").decode() for part in (text, suffix))
    if text.strip():
        assert prompts_of(folder, text, prompt_suffix=suffix) == [[{"role": "user", "content": text + suffix}]]
        assert prompts_of(folder, text, prompt_suffix=suffix, prompt_format="text") == [text + suffix]
        assert prompts_of(folder, [SYSTEM, {"role": "user", "content": text}], prompt_suffix=suffix) == [
            [SYSTEM, {"role": "user", "content": text + suffix}]
        ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([TEXT], [{"type": "text", "text": "1+1!"}]),
        ([IMAGE, TEXT], [{**IMAGE, "text": None}, {"type": "text", "text": "1+1!", "image": None}]),
        ([TEXT, IMAGE], [{"type": "text", "text": "1+1!", "image": None}, {**IMAGE, "text": None}]),
        ([IMAGE], [{**IMAGE, "text": None}, {"type": "text", "text": "!", "image": None}]),
    ],
)  # fmt: skip
def test_a_suffix_goes_to_the_last_text_of_the_last_message(parts, expected, folder):
    chat = [USER, ANSWER, {"role": "user", "content": parts}]
    ((first, second, last),) = prompts_of(folder, chat, prompt_suffix="!")
    assert last["content"] == expected  # Arrow fills the keys of other parts with None
    assert [part["text"] for message in (first, second) for part in message["content"]] == ["1+1", "2"]
    ((_, _, last),) = prompts_of(folder, [USER, ANSWER, USER], prompt_suffix="!")
    assert last == {"role": "user", "content": "1+1!"}


def test_prompts_alone_are_a_dataset(folder):
    """A reward of one's own may need no other column."""
    path = folder / "alone.jsonl"
    path.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    found = load_rows(DataArguments(str(path), prompt_format="text"))
    assert found.to_dict() == {"prompt": ["one", "two"]}


def test_calls_of_tools_may_have_no_text(folder):
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add"}}]}
    ((_, second, _),) = prompts_of(folder, [USER, call, USER])
    assert second["content"] is None and second["tool_calls"] == call["tool_calls"]
    with pytest.raises(ValueError, match="messages whose fields are of other types than in other messages"):
        prompts_of(folder, [{**USER, "weight": 1}], [{**USER, "weight": "much"}])


def test_chats_are_not_text(folder):
    with pytest.raises(ValueError, match="row 0 of .* has a chat in 'prompt', and `prompt_format` is 'text': set"):
        prompts_of(folder, [USER], prompt_format="text")


@pytest.mark.parametrize("value", ["chats", "", None, 5])
def test_other_formats_of_prompts_are_refused(value):
    with pytest.raises(ValueError, match="`prompt_format` must be chat or text, got"):
        DataArguments("x.jsonl", prompt_format=value)
    with pytest.raises(ValueError, match="`prompt_format` must be chat or text"):
        DataArguments("x.jsonl", datasets={"hard": {"prompt_format": value}}).named()


@pytest.mark.parametrize("field", ["dataset_name", "dataset_split", "prompt_column", "answer_column", "prompt_suffix"])
def test_fields_of_text_take_nothing_else(field):
    with pytest.raises(ValueError, match=f"`{field}` must be text, got 5: put it in quotes"):
        DataArguments(**{field: 5})


def test_named_data_sets_may_have_a_format_of_their_own(folder):
    args = DataArguments(
        written(folder, ["1+1"]), prompt_format="text", datasets={"b": {"prompt_format": "chat"}, "c": {}}
    )
    prompts = {name: dataset["prompt"][0] for name, dataset in load_named(args, load_problems).items()}
    assert prompts == {"train": "1+1", "b": [USER], "c": "1+1"}


PLAN = ["plan", str(ROOT / "recipes" / "qwen7b_es.yaml"), "--use_cpu", "true", "--steps_per_generation", "16"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "set[1]?.jsonl"])
def test_a_plan_reads_columns_by_the_recipes_names(name, tmp_path, capsys):
    rows = [{"problem": f"{i}+1", "answer": i + 1, "meta": {"truth": 0.5}} for i in range(64)]
    if name.endswith("parquet"):
        Dataset.from_list(rows).to_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text(json.dumps(rows))
    plan = [*PLAN, "--dataset_name", str(tmp_path / name), "--prompt_column", "problem"]
    for column in ("answer", "meta.truth"):
        assert cli([*plan, "--answer_column", column]) == 0, capsys.readouterr().err
    for column, message in (("meta", "set answer_column to a field of it (meta.truth)"),
                            ("answr", "has no column 'answr', did you mean 'answer'?")):  # fmt: skip
        assert cli([*plan, "--answer_column", column]) == 2
        assert message in capsys.readouterr().err
    assert cli([*plan[:-2], "--answer_column", "answer"]) == 2
    assert "has no column 'prompt'" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [None, True, "", {"a": 1}])
def test_a_plan_refuses_rows_that_the_run_would_refuse(answer, tmp_path, capsys):
    rows = [{"prompt": "x", "solution": "1"}] * 64 + [{"prompt": "x", "solution": answer}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert cli([*PLAN, "--dataset_name", str(tmp_path / "a.json")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: row 64 of {tmp_path}/a.json has ") and len(said.splitlines()) == 1


@pytest.mark.parametrize("recipe", ["countdown_es.yaml", "countdown_curriculum.yaml"])
def test_a_plan_takes_the_labs_own_files(recipe, tmp_path, capsys):
    countdown_dataset(200, seed=5, num_numbers=(3, 4)).rename_column("prompt", "task").to_json(tmp_path / "a.jsonl")
    options = ["--dataset_name", str(tmp_path / "a.jsonl"), "--prompt_column", "task"]
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 0, capsys.readouterr().err
    loaded = load_countdown(
        DataArguments(*options[1:2], prompt_column="task", dataset_filter={"count": [4, 4]}), seed=0
    )
    assert {len(numbers) for numbers in loaded["numbers"]} == {4}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"numbers": 5}, "has 5 in 'numbers', which must hold a list of integers"),
        ({"numbers": [1, "2"]}, "in 'numbers', which must hold a list of integers"),
        ({"target": "17"}, "has '17' in 'target', which must hold an integer"),
        ({"target": None}, "has no 'target'"),
    ],
)
def test_rows_that_are_not_the_labs_are_refused(row, message, tmp_path):
    good = {"prompt": "3 5 2=17:", "numbers": [3, 5, 2], "target": 17}
    (tmp_path / "a.json").write_text(json.dumps([good, {**good, **row}]))
    with pytest.raises(ValueError, match=f"row 1 of .*a.json .*{message}"):
        load_countdown(DataArguments(str(tmp_path / "a.json")), seed=0)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
@pytest.mark.parametrize("name", ["math500/test.jsonl", "gsm8k/test.jsonl", "gsm8k/train.jsonl"])
def test_real_data(name, capsys):
    options = ["--prompt_column", "question", "--answer_column", "answer"]
    assert cli([*PLAN, "--dataset_name", str(SHARED / name), *options]) == 0, capsys.readouterr().err
    problems = load_problems(DataArguments(str(SHARED / name), prompt_column="question", answer_column="answer"))
    lines = (SHARED / name).read_text().splitlines()
    assert problems["solution"][:] == [json.loads(line)["answer"] for line in lines]
