"""An evaluation that is killed and started again has the samples of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from evaluations import evaluated, lab_settings, outputs, samples_of
from filelock import FileLock
from launching import ROOT, environment

from es_trl.data import DataArguments
from es_trl.evaluation import evaluate
from es_trl.evaluation.sampling import TransformersSampler
from es_trl.lab import BASE_MODEL


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The outputs of an evaluation that was not interrupted."""
    return evaluated(tmp_path_factory.mktemp("whole"))


def test_a_restart_after_a_cut_at_any_byte(whole, tmp_path):
    evaluate(lab_settings(), tmp_path)
    draws = random.Random(3)
    for size in [0, len(whole[0]) - 1, *draws.sample(range(len(whole[0])), 6)]:
        os.truncate(tmp_path / "samples.jsonl", size)
        (tmp_path / "passk.json").unlink()
        assert evaluated(tmp_path) == whole


def test_a_restart_after_an_error_in_the_middle(whole, tmp_path, monkeypatch):
    sample, calls = TransformersSampler.sample, []

    def breaks(self, *args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return sample(self, *args)

    monkeypatch.setattr(TransformersSampler, "sample", breaks)
    with pytest.raises(KeyboardInterrupt):
        evaluate(lab_settings(), tmp_path)
    assert not (tmp_path / "passk.json").exists() and len(samples_of(tmp_path)) == 12
    assert evaluated(tmp_path) == whole
    assert len(calls) == 4 + 5


def test_samples_without_their_settings_are_refused(whole, tmp_path, no_weights_load):
    (tmp_path / "samples.jsonl").write_bytes(whole[0])
    settings = lab_settings()
    with pytest.raises(ValueError, match=r"eval.json cannot be read, but samples.jsonl beside it has samples: set"):
        evaluate(settings, tmp_path)


def test_a_second_start_keeps_everything(whole, tmp_path, monkeypatch):
    evaluate(lab_settings(), tmp_path)
    content = (tmp_path / "passk.json").read_bytes()
    monkeypatch.setattr("es_trl.evaluation.evaluating._sampler", lambda *args: pytest.fail("a model loads"))
    evaluate(lab_settings(), tmp_path)
    assert (tmp_path / "passk.json").read_bytes() == content


def test_other_k_are_estimated_from_the_same_samples(whole, tmp_path, monkeypatch):
    evaluate(lab_settings(), tmp_path)
    monkeypatch.setattr("es_trl.evaluation.evaluating._sampler", lambda *args: pytest.fail("a model loads"))
    assert list(evaluate(lab_settings(ks=(3,)), tmp_path).pass_at_k) == [3]
    assert (tmp_path / "samples.jsonl").read_bytes() == whole[0]


def test_a_larger_n_goes_on(tmp_path):
    once = evaluated(tmp_path / "once", n=8)
    small = evaluated(tmp_path / "twice", n=2)
    assert once[0].startswith(small[0]) and len(small[0]) < len(once[0])
    assert evaluated(tmp_path / "twice", n=8) == once
    with pytest.raises(ValueError, match="`n` is 8 there and 4 here"):
        evaluate(lab_settings(n=4), tmp_path / "twice")


def test_a_larger_n_that_cuts_otherwise_is_refused(tmp_path):
    evaluate(lab_settings(n=3), tmp_path)
    with pytest.raises(ValueError, match="`n` is 3 there and 8 here"):
        evaluate(lab_settings(n=8), tmp_path)


OTHER = DataArguments(dataset_name="countdown:3", dataset_split="train[8:16]", prompt_format="text")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0.7}, "`temperature` is 1.0 there and 0.7 here"),
        ({"top_p": 0.5}, "`top_p` is 1.0 there and 0.5 here"),
        ({"seed": 1}, "`seed` is 0 there and 1 here"),
        ({"max_new_tokens": 13}, "`max_new_tokens` is 12 there and 13 here"),
        ({"batch_size": 2}, "`batch_size` is 4 there and 2 here"),
        ({"data": OTHER}, "`data` is 'countdown:3:train[:8]' there and 'countdown:3:train[8:16]' here"),
        ({"seed": 1, "top_p": 0.5}, "`top_p` is 1.0 there and 0.5 here; `seed` is 0 there and 1 here"),
    ],
)
def test_other_settings_in_the_folder_are_refused(changes, words, whole, tmp_path):
    evaluate(lab_settings(), tmp_path)
    with pytest.raises(ValueError) as refusal:
        evaluate(lab_settings(**changes), tmp_path)
    assert words in str(refusal.value) and str(refusal.value).endswith(": set another --output_dir")
    assert outputs(tmp_path) == whole


def test_a_model_that_was_trained_on_is_another_one(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL)
    AutoTokenizer.from_pretrained(BASE_MODEL).save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    settings = lab_settings(model=str(tmp_path / "model"), n=1)
    evaluate(settings, tmp_path / "eval")
    with torch.no_grad():
        model.model.norm.weight.mul_(1.01)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"other settings \(`model` has changed\): set another --output_dir"):
        evaluate(settings, tmp_path / "eval")


def test_settings_may_change_while_there_is_no_sample(tmp_path):
    (tmp_path / "samples.jsonl").touch()
    (tmp_path / "eval.json").write_text("{}")
    evaluate(lab_settings(n=1), tmp_path)
    assert json.loads((tmp_path / "eval.json").read_text())["n"] == 1


def test_another_evaluation_in_the_folder_is_refused(tmp_path):
    with (
        FileLock(tmp_path / "_eval.lock"),
        pytest.raises(ValueError, match="another evaluation runs in .*: set another --output_dir, or wait until"),
    ):
        evaluate(lab_settings(), tmp_path)


@pytest.mark.slow
def test_a_kill_by_the_system(tmp_path):
    options = ["--reward", "countdown", "--split", "train[:16]", "--n", "64", "--batch_size", "8"]
    command = [sys.executable, "-m", "es_trl", "eval", BASE_MODEL, *options, "--max_new_tokens", "12", "--output_dir"]
    where = {"cwd": ROOT, "env": environment(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, str(tmp_path / "once")], check=True, timeout=200, **where)
    size, path = (tmp_path / "once" / "samples.jsonl").stat().st_size, tmp_path / "killed" / "samples.jsonl"
    for share in (0.2, 0.6):
        running = subprocess.Popen([*command, str(path.parent)], **where)
        while not path.exists() or path.stat().st_size < share * size:
            assert running.poll() is None
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert path.stat().st_size < size
    subprocess.run([*command, str(path.parent)], check=True, timeout=200, **where)
    assert outputs(path.parent) == outputs(tmp_path / "once")
