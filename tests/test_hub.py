"""Pushes to a Hub on this machine: what arrives, what is refused, what is said when they fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lab_runs import LAB_ARGS
from launching import LIMIT, environment
from local_hub import TOKEN


pytestmark = pytest.mark.slow


ALWAYS = {"README.md", "config.json", "es_curves.png", "es_history.jsonl", "es_recipe.yaml", "generation_config.json",
          "es_completions.jsonl", "es_setup.json", "report.html",
          "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training_args.bin"}  # fmt: skip


class Pushed:
    """What `hub_worker.py` left."""

    def __init__(self, folder, done):
        self.folder, self.done = folder, done

    def saw(self, scenario):
        return json.loads((self.folder / f"{scenario}.json").read_text())

    def commits(self, name):
        """Of each commit, oldest first: title, and path to content of what is in the repository then."""
        folders = sorted((self.folder / "hub" / name).iterdir(), key=lambda folder: int(folder.name))
        commits = []
        for folder in folders:
            files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            commits.append((files.pop("TITLE").decode(), files))
        return commits


def records_in(files):
    return [json.loads(line) for line in files["es_history.jsonl"].decode().splitlines()]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    for package in ("peft", "trackio", "matplotlib", "altair", "vl_convert"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("hub") / "run"
    folder.mkdir()
    options = json.dumps({"folder": str(folder), "token": TOKEN, "lab": LAB_ARGS})
    words = [sys.executable, str(Path(__file__).parent / "hub_worker.py"), options]
    # the options hold the token, the environment must not
    without = {name: value for name, value in environment().items() if name != "HF_TOKEN"}
    done = subprocess.run(words, env=without, capture_output=True, text=True, timeout=LIMIT)
    assert (folder / "errors.json").exists(), done.stderr[-3000:]
    return Pushed(folder, done)


def test_every_save_has_everything(pushed):
    commits = pushed.commits("round_trip")
    titles = ["Training in progress, step 4", "Training in progress, step 8", "End of training"]
    assert [title for title, _ in commits] == titles
    for (_, files), rollouts in zip(commits, (1, 2, 2), strict=True):
        assert set(files) == ALWAYS | {"es_loop.json"}
        assert files["es_curves.png"].startswith(b"\x89PNG") and len(files["es_curves.png"]) > 10_000
        assert [record["rollout"] for record in records_in(files)] == list(range(rollouts))
    first, last, end = (files["model.safetensors"] for _, files in commits)
    assert first != last and last == end
    assert commits[0][1]["es_curves.png"] != commits[1][1]["es_curves.png"]


def test_the_card_of_every_save(pushed):
    commits = pushed.commits("round_trip")
    assert len(commits) > 1
    for _, files in commits:
        card = files["README.md"].decode()
        metadata = yaml.safe_load(card.split("---")[1])
        assert {"trl", "es-grpo", "entropy-scheduling"} <= set(metadata["tags"])
        assert "wang2026entropy" in card and "![Target and entropy" in card and "None" not in card
        assert "[`report.html`](report.html) has these charts" in card and "time machine" not in card
        assert "schedule: `ConstantSchedule(target=0.4" in card and "controller: `SelfTunedPID" in card
        last = records_in(files)[-1]
        for name, field in (("target (nats)", "target"), ("entropy (nats)", "entropy"), ("reward", "reward"),
                            ("completion (tokens)", "completion_tokens")):  # fmt: skip
            (row,) = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
            assert row.endswith(f"| {last[field]:.4g} |")
        recipe = yaml.safe_load(card.split("````yaml\n")[1].split("````")[0])
        assert recipe == yaml.safe_load(files["es_recipe.yaml"])
        assert recipe["learning_rate"] == 2e-3 and recipe["entropy_schedule"] == {"kind": "constant", "target": 0.4}
        assert recipe["env"] == {"PLAIN": "1"} and "hub_token" not in recipe
        for package in ("es_trl 0.", "trl 1.", "transformers ", "torch ", "accelerate "):
            assert package in card.split("### Versions of the run")[1]


def test_the_model_comes_back_to_its_owner_alone(pushed):
    saw = pushed.saw("round_trip")
    assert saw["equal"] and saw["private"] and len(saw["tokens"]) == len("3 5 2=17:")
    assert saw["output"][0].endswith("/tester/round_trip (private)")
    assert saw["output"][-1] == "and on the Hub, as tester/round_trip"
    assert saw["again"] == [2e-3, "ConstantSchedule(target=0.4, relative=False)", None]


def test_a_token_is_nowhere(pushed):
    assert pushed.saw("round_trip")["saved_token"] is None
    assert TOKEN not in pushed.done.stdout + pushed.done.stderr
    paths = [path for path in pushed.folder.rglob("*") if path.is_file()]
    names = {path.name for path in paths}
    assert {"training_args.bin", "es_history.jsonl", "es_recipe.yaml", "README.md", "optimizer.pt"} <= names
    assert [str(path) for path in paths if TOKEN.encode() in path.read_bytes()] == []


def test_what_cannot_be_pushed_is_refused_before_a_model_is_looked_for(pushed):
    said = pushed.saw("refusals")
    expected = {
        "wrong token": ("HTTP 401 Unauthorized", "log in with `hf auth login`, or set HF_TOKEN"),
        "foreign namespace": ("HTTP 403 Forbidden, You don't have the rights", "set hub_model_id to a repository"),
        "foreign repository": ("HTTP 403 Forbidden, You don't have write access", "set hub_model_id to a repository"),
        "public repository": ("tester/public exists already and is public", "set hub_private_repo: false to publish"),
        "no name": ("Repo id must be in the form", "set hub_model_id to a name of the form namespace/name"),
        "private Space": ("because Trackio makes only public Spaces", "set hub_private_repo: false to publish both"),
        "token in a field": ("`model_init_kwargs` must not hold an access token", "log in with"),
        "a mirror": ("/tester/mirror",),  # its address: nothing is refused
        "a broken mirror": ("HTTP 500", "check the connection to"),
        "no Hub": ("ConnectError: [Errno 111] Connection refused", "or set push_to_hub: false"),
    }
    assert said.keys() == expected.keys()
    for case, parts in expected.items():
        assert all(part in said[case] for part in parts), said[case]


def test_an_outage_is_said_and_made_up_for_at_the_next_save(pushed):
    saw = pushed.saw("outage")
    message = (
        "the push of update 4 to tester/outage failed (ConnectError: [Errno 111] Connection refused); the next save or "
        "the end of the training tries again"
    )
    assert saw["output"].count(message) == 1 and saw["missed"] == [4]
    assert saw["output"][-1].endswith("as tester/outage; pushes of earlier saves were missed, at update 4")
    assert [record["events"] for record in saw["records"]] == [None, [{"kind": "push", "message": message}], None]
    titles, files = zip(*pushed.commits("outage"), strict=True)
    assert titles == ("Training in progress, step 8", "Training in progress, step 12", "End of training")
    assert set(files[0]) == ALWAYS and records_in(files[0])[1]["events"][0]["kind"] == "push"
    assert "tester/outage failed" not in files[-1]["README.md"].decode()


def test_a_save_during_a_push_is_said_and_sent_at_the_end(pushed):
    message = (
        "the push of update 8 to tester/left_out was skipped, because the push of update 4 still runs; the next save "
        "or the end of the training tries again"
    )
    assert pushed.saw("left_out")["output"].count(message) == 1
    titles, files = zip(*pushed.commits("left_out"), strict=True)
    assert titles == ("Training in progress, step 4", "Training in progress, step 8", "End of training")
    # the first is what there was when it began
    assert [len(records_in(part)) for part in files] == [1, 2, 2]
    assert ["| rollout | 0 | 0 |" in part["README.md"].decode() for part in files] == [True, False, False]


def test_errors_of_the_hub(pushed):
    saw = pushed.saw("errors")
    # one 503 is tried again by huggingface_hub; six are more than it tries; the last push finds nothing else
    assert saw["titles"] == ["Training in progress, step 4", "Training in progress, step 12"]
    failed = "the push of update 8 to tester/errors failed (HTTP 503 Service Unavailable, out of order); the next save"
    assert sum(line.startswith(failed) for line in saw["output"]) == 1
    assert not any("on the Hub" in line for line in saw["output"])
    run_dir = pushed.folder / "errors"
    assert pushed.done.returncode == 1
    assert pushed.done.stderr.endswith(
        "\nerror: the push to tester/errors failed (HTTP 503 Service Unavailable, out of order); model, card and "
        f"history are in {run_dir}. Push them later with\n"
        f"hf upload tester/errors {run_dir} . --exclude '_*' --exclude 'checkpoint-*' --private\n"
    )
    assert saw["later"] == 0, saw["said"]
    _, files = pushed.commits("errors")[-1]
    assert set(files) == ALWAYS and files["model.safetensors"] == (run_dir / "model.safetensors").read_bytes()


def test_trackio_keeps_its_logs_here(pushed):
    saw = pushed.saw("trackio")
    assert saw["rows"] > 4 and saw["static"] is False
    assert any("commit" in call for call in saw["calls"])
    assert not any("space" in call or "bucket" in call for call in saw["calls"])
    assert [title for title, _ in pushed.commits("trackio")] == ["Training in progress, step 4", "End of training"]
    # a Space that cannot be made costs the push, and not the training
    assert saw["updates"] == 4 and saw["missed"] == [4] and saw["public"]


def test_an_adapter_is_pushed_alone(pushed):
    assert pushed.saw("adapter") == {"equal": True, "trained": True}
    for _, files in pushed.commits("adapter"):
        expected = ALWAYS - {"config.json", "generation_config.json", "model.safetensors"}
        assert set(files) == expected | {"adapter_config.json", "adapter_model.safetensors"}
        assert ", peft 0." in files["README.md"].decode()


def test_a_run_goes_on_from_the_checkpoint_on_the_hub(pushed):
    assert pushed.saw("checkpoint") == {"ended": "KeyboardInterrupt", "step": 6, "equal": True, "rollouts": [0, 1, 2]}
    titles, files = zip(*pushed.commits("checkpoint"), strict=True)
    first, last = "Training in progress, step 6", "Training in progress, step 12"
    assert titles == (first, f"{first}, checkpoint", last, f"{last}, checkpoint", "End of training")
    assert {"last-checkpoint/es_state.json", "last-checkpoint/es_history.jsonl"} <= set(files[1])
