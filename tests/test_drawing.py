"""The figure of a run is drawn beside the run, is always whole, and ends with the run."""

import logging
import os
import select
import signal
import subprocess
import sys

import pytest
from launching import environment
from written_run import write_run

from es_trl.tracking import drawing
from es_trl.tracking.drawing import Drawing
from es_trl.tracking.plots import plot_run


pytest.importorskip("matplotlib")
PNG, END = b"\x89PNG", b"IEND\xaeB`\x82"


@pytest.fixture(autouse=True)
def at_once(request, monkeypatch):
    """Slow tests may start a drawing at once."""
    if request.node.get_closest_marker("slow"):
        monkeypatch.setattr(drawing, "EVERY_SECONDS", 0.0)


def hang(folder):
    """Make a history that nobody writes, so that whoever reads it hangs."""
    (folder / "es_history.jsonl").unlink(missing_ok=True)
    os.mkfifo(folder / "es_history.jsonl")


def messages(caplog):
    return [record.getMessage() for record in caplog.records if "is not drawn" in record.getMessage()]


@pytest.mark.slow
def test_a_drawing_beside_the_run_is_that_of_the_command(tmp_path):
    write_run(tmp_path, controlled=True)
    beside = Drawing(tmp_path)
    assert beside.behind() and beside._process.wait() == 0
    image = (tmp_path / "es_curves.png").read_bytes()
    assert image.startswith(PNG) and image.endswith(END)
    assert plot_run(tmp_path).read_bytes() == image
    assert {path.name for path in tmp_path.iterdir()} == {"es_curves.png", "es_history.jsonl", "es_loop.json"}


@pytest.mark.slow
def test_one_drawing_at_a_time_and_the_last_word_is_the_newest(tmp_path):
    hang(tmp_path)
    beside = Drawing(tmp_path)
    assert beside.behind()
    first = beside._process
    assert beside.behind() and beside._process is first and first.poll() is None
    (tmp_path / "es_history.jsonl").unlink()
    write_run(tmp_path, controlled=False)
    assert beside.now() and first.returncode == -signal.SIGKILL
    assert (tmp_path / "es_curves.png").read_bytes().endswith(END)


@pytest.mark.slow
def test_a_drawing_that_fails_is_one_line(tmp_path, caplog):
    (tmp_path / "es_history.jsonl").write_text("nonsense\n")
    beside = Drawing(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert beside.behind()
        beside._process.wait()
        beside.behind()
    (line,) = messages(caplog)
    assert line.startswith("es_curves.png is not drawn: line 1 of") and line.count("\n") == 0
    assert not beside.now() and len(messages(caplog)) == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_killed_run_leaves_no_drawing(tmp_path):
    hang(tmp_path)
    code = f"""
from es_trl.tracking import drawing
drawing.EVERY_SECONDS = 0.0
beside = drawing.Drawing({str(tmp_path)!r})
beside.behind()
print(beside._process.pid, flush=True)
input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=environment(), **pipes) as run:
        ended = select.poll()
        ended.register(handle := os.pidfd_open(int(run.stdout.readline())), select.POLLIN)
        assert not ended.poll(0)
        run.kill()
        assert ended.poll(60_000)
        os.close(handle)
    assert [path.name for path in tmp_path.iterdir()] == ["es_history.jsonl"]


def test_nothing_is_started_soon_after_the_last_one(tmp_path):
    write_run(tmp_path, controlled=False)
    assert Drawing(tmp_path).behind()  # a process would fail this test
    assert not (tmp_path / "es_curves.png").exists()


def test_an_interrupted_write_keeps_the_old_figure(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    write_run(tmp_path, controlled=False)
    (tmp_path / "es_curves.png").write_bytes(b"old")

    def half(self, file, **_):
        file.write(PNG)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        plot_run(tmp_path)
    assert (tmp_path / "es_curves.png").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"es_curves.png", "es_history.jsonl"}


def test_saves_draw_beside_the_run_and_its_end_draws_at_once(lab_trainer, monkeypatch):
    calls = []
    for name in ("behind", "now"):
        monkeypatch.setattr(Drawing, name, lambda self, name=name: (calls.append(name), True)[1])
    lab_trainer(save_strategy="steps", save_steps=4).train()
    assert calls == ["behind", "behind", "now"]


def test_a_figure_that_cannot_be_written_does_not_end_the_run(lab_trainer, caplog):
    trainer = lab_trainer(max_steps=4)
    folder = trainer.history.path.parent
    (folder / "es_curves.png").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert messages(caplog) == [
        f"es_curves.png is not drawn: {folder}/es_curves.png cannot be read or written: Is a directory"
    ]
    assert "es_curves.png" not in (folder / "README.md").read_text()


def test_a_run_without_matplotlib_has_no_figure(lab_trainer, caplog, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    trainer = lab_trainer(max_steps=4)
    assert not Drawing(trainer.args.output_dir).behind()
    with caplog.at_level(logging.WARNING):
        trainer.train()
    (line,) = messages(caplog)
    assert "matplotlib is not installed" in line and "pip install 'es-trl[plots]'" in line
    assert not (trainer.history.path.parent / "es_curves.png").exists()


def test_a_card_reads_few_records_of_a_long_history(tmp_path):
    from es_trl.tracking.history import read_history

    records = write_run(tmp_path, controlled=True)
    path = tmp_path / "es_history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[7] = lines[7].replace('"events": null', '"events": [{"kind": "note", "message": "here"}]')
    path.write_text("".join(lines))
    assert [record["rollout"] for record in read_history(path, only_told=True)] == [0, 7, len(records) - 1]
