"""Files are found by exactly their name, and what cannot be read is refused in one sentence that says where."""

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_here import judged_here  # noqa: F401, for pytest

from es_trl.data import DataArguments, load_problems, load_rows, rows
from es_trl.data.exact_json import read_json
from es_trl.data.reading import is_local, read_rows


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        lines = "".join(json.dumps(record) + "\n" for record in records)
        path.write_text(json.dumps(records) if path.suffix == ".json" else lines)
    return str(path)


def prompt_of(name):
    return load_problems(DataArguments(name))["prompt"][0][0]["content"]


ODD_NAMES = ["set[1]", "set[!1]", "what?", "all*", "**", "{a,b}", "two words", "größe 数", "~tilde", "a=1", "#1", "%20",
             "hf:x", "a::b", "-dash", "a\\b", ".hidden", "train[:1]", "$HOME", "file:x", "quo'te\""]  # fmt: skip


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_has_no_special_meaning(name, suffix, tmp_path, monkeypatch):
    for other in ("set1", "whatx", "allx", "a", "b", "x", "train"):
        write(tmp_path / f"{other}{suffix}", [{"prompt": "another file", "solution": "1"}])
    path = write(tmp_path / f"{name}{suffix}", [{"prompt": "this file", "solution": "1"}])
    monkeypatch.chdir(tmp_path)
    for own in (path, f"{name}{suffix}", f"./{name}{suffix}"):
        assert prompt_of(own) == "this file" and is_local(own)
    assert prompt_of(Path(path)) == "this file"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_folder_adds_no_column(suffix, tmp_path):
    path = write(tmp_path / "level=3" / f"a{suffix}", [{"prompt": "x", "solution": "1"}])
    assert load_rows(DataArguments(path)).column_names == ["prompt", "solution"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.jsonl", [{"prompt": "at home", "solution": "1"}])
    assert prompt_of("~/a.jsonl") == "at home"
    with pytest.raises(ValueError, match=f"the dataset {tmp_path}/b.jsonl does not exist"):
        load_rows(DataArguments("~/b.jsonl"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text() | st.integers() | st.none()), min_size=1))
def test_both_layouts_and_any_line_ending_hold_the_same(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("layouts") / "rows.jsonl"
    names = {name for row in records for name in row}
    expected = {name: [row.get(name) for row in records] for name in names}
    lines = [json.dumps(row, ensure_ascii=False) for row in records]
    try:
        contents = [
            text.encode() for text in ("\n".join(lines), "\r\n\r\n".join(lines) + "\r\n", f"[{','.join(lines)}]")
        ]
    except UnicodeEncodeError:
        return  # a lone surrogate is no text of a file
    for content in (*contents, b"\xef\xbb\xbf" + contents[0], json.dumps(records, indent=2).encode()):
        path.write_bytes(content)
        assert read_json(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "naïve", "solution": "1"}\n'.encode("latin-1"), "must be UTF-8 text, got the byte 0xEF in line 1"),
        (b'{"a": 1}\n\n{"a": "\xe9"}\n', "a.jsonl must be UTF-8 text, got the byte 0xE9 in line 3: save it"),
        ('{"a": 1}'.encode("utf-16"), "must be UTF-8 text, got the byte 0xFF in line 1"),
        (b'{"a": 1}\n\n{"a": \n{"a": 2}\n', r"line 3 of .*a.jsonl is not valid JSON .Expecting value at character 7"),
        (b'{"a": 1}\n{"a": 1} {"a": 2}\n', r"line 2 of .* is not valid JSON \(Extra data at character 10\)"),
        (b'[{"a": 1},\n{"a": 2},\n]', "line 3 of .*a.jsonl is not valid JSON"),
        (b'{\n  "a": 1\n}\n', "line 1 of .* is not valid JSON .* one record per line, or one list of records"),
        (b'{"a": 1}\n5\n', "row 1 of .*a.jsonl must be a record of columns and their values, got int"),
        (b'["a", "b"]', "row 0 of .*a.jsonl must be a record .* got str"),
        (b"null\n", "row 0 of .* got NoneType"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "a.jsonl is nested too deeply in line 1 or later"),
        (b'{"a": 1}\n{"a": ' + b"9" * 5000 + b"}\n", "an integer of too many digits in line 2 or later: write"),
        (b" \n\n", "a.jsonl is empty: set dataset_name to one with prompts"),
        (b"\xef\xbb\xbf", "a.jsonl is empty"),
        (b"{}\n{}\n", "a.jsonl is empty"),
    ],
)  # fmt: skip
def test_damage_is_refused_with_its_place(content, message, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        load_rows(DataArguments(str(path), prompt_column="a"))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("cut", [0, 3, 50, -1, -8])
def test_half_a_parquet_file_is_refused(cut, tmp_path):
    path = Path(write(tmp_path / "a.parquet", [{"prompt": "x", "solution": "1"}]))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="a.parquet is (empty|not a whole Parquet file)") as refusal:
        load_problems(DataArguments(str(path)))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is a folder or a device: set dataset_name to a file"),
        (lambda path: os.mkfifo(path), "is a folder or a device"),
        (lambda path: path.symlink_to("nothing"), "does not exist"),
    ],
)
def test_what_is_no_file_is_refused(make, message, tmp_path):
    make(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match=message):
        read_rows(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a.txt", "a", "a.JSONL"])
def test_other_formats_are_refused_with_those_that_are_read(name, tmp_path):
    (tmp_path / name).write_text("x")
    with pytest.raises(ValueError, match="file ending in .json, .jsonl, .parquet"):
        read_rows(str(tmp_path / name))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_file_that_may_not_be_read_is_refused(suffix, tmp_path, monkeypatch):
    path = write(tmp_path / f"a{suffix}", [{"prompt": "x", "solution": "1"}])

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    for name in ("open", "read_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(ValueError, match=rf"{suffix} cannot be read \(Permission denied\): set dataset_name"):
        read_rows(path)


@pytest.mark.parametrize("split", ["test", "train[:1]+train[2:]", "train[", ""])
def test_a_file_has_one_split(split, tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": "x", "solution": "1"}])
    message = f"`dataset_split` must be 'train' for the file {path}, or a part of it as 'train[:100]', got {split!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_problems(DataArguments(path, dataset_split=split))


@pytest.mark.parametrize(
    ("split", "kept"), [("train[:2]", "01"), ("train[-1:]", "4"), ("train[20%:60%]", "12"), ("train[3:99]", "34")]
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_file_can_be_taken_in_part(split, kept, name, tmp_path):
    rows = [{"prompt": str(row), "solution": str(row)} for row in range(5)]
    if name.endswith("parquet"):
        Dataset.from_list(rows).to_parquet(path := str(tmp_path / name))
    else:
        path = write(tmp_path / name, rows)
    assert "".join(load_problems(DataArguments(path, dataset_split=split))["solution"]) == kept


@pytest.mark.slow
def test_answers_that_cannot_be_judged_are_named_when_they_are_loaded(tmp_path):
    rows = [{"prompt": "x", "solution": solution} for solution in ("1", "\\frac{1}{", "2", "1/0", ["3", "\\sqrt"])]
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError, match=f"cannot judge 3 of 5 gold answers, in row 1 of {path}, row 3 of .*, row 4"):
        load_problems(DataArguments(path))
    load_problems(DataArguments(path, dataset_split="train[:1]"))


MIXED = [1, "a", None, {"b": 0.5}, 2**62]


def test_rows_keep_values_of_mixed_types_that_are_asked_for(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": "x", "tests": value or 0, "other": value} for value in MIXED])
    loaded = load_rows(DataArguments(path), ("tests",))
    assert list(loaded["tests"]) == [value or 0 for value in MIXED] and list(loaded["other"]) == MIXED


def test_columns_that_nothing_can_hold_are_left_out_unless_asked_for(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(rows.logger, "warning", said.append)
    path = write(tmp_path / "a.jsonl", [{"prompt": "x", "huge": 2**100, "bad": "\ud800", "solution": "1"}])
    assert load_rows(DataArguments(path), ("solution",)).column_names == ["prompt", "solution"]
    assert said == [f"the columns huge, bad of {path} are left out: Arrow cannot hold them"]
    assert load_problems(DataArguments(path))["solution"][:] == ["1"] and len(said) == 1
    with pytest.raises(ValueError, match="the column 'huge' of .* too large, or .*: write such numbers as text"):
        load_rows(DataArguments(path), ("huge",))


def test_parquet_columns_of_unknown_types_do_not_matter(tmp_path):
    pairs = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
    pq.write_table(pa.table({"prompt": ["x"], "solution": ["1"], "pairs": pairs}), tmp_path / "a.parquet")
    args = DataArguments(str(tmp_path / "a.parquet"))
    assert load_problems(args)["solution"][:] == ["1"] and load_rows(args).column_names == ["prompt", "solution"]
    names = pa.table([pa.array(["x"]), pa.array(["y"])], names=["prompt", "prompt"])
    pq.write_table(names, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="two columns of one name, among prompt, prompt"):
        load_rows(args)
