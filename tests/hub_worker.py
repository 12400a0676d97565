"""Runs that push to a local Hub, one scenario after the other: `python hub_worker.py OPTIONS_JSON`.

OPTIONS_JSON has `folder`, `token` and `lab` (arguments of a lab run). Every scenario leaves `<name>.json` with what it
saw, and `hub/<repository>/<commit>/` has every commit. The last scenario ends the process as it ends the run.
"""

import contextlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from local_hub import Fault, LocalHub, Repository


OPTIONS = json.loads(sys.argv[1])
FOLDER, TOKEN = Path(OPTIONS["folder"]), OPTIONS["token"]
HUB = LocalHub({TOKEN: "tester"})
os.environ |= {
    "HF_ENDPOINT": HUB.url,
    "HF_TOKEN": TOKEN,
    "HF_HOME": str(FOLDER / "home"),
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRACKIO_DIR": str(FOLDER / "logs"),
}

import huggingface_hub.utils._http as hub_http  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from huggingface_hub import snapshot_download  # noqa: E402
from peft import AutoPeftModelForCausalLM  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

import es_trl.recipe  # noqa: E402
import es_trl.run  # noqa: E402
from es_trl import ESGRPOConfig, ESGRPOTrainer  # noqa: E402
from es_trl.hub.repository import open_repository  # noqa: E402
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward  # noqa: E402


torch.set_num_threads(1)
# the library's retries without their 23 seconds
hub_http.time = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
DATASET = countdown_dataset(64, seed=1)


class Watched(ESGRPOTrainer):
    """A trainer whose run can be acted on: at the begin of a rollout, of the wait at the end, and of the last push."""

    acts: dict = {}
    latest = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Watched.latest = self

    def act(self, when):
        self.acts.get(when, lambda trainer: None)(self)

    def _begin_rollout(self):
        self.act(self._next_rollout)
        super()._begin_rollout()

    def _finish_current_push(self):
        self.act("wait")
        super()._finish_current_push()

    def push_to_hub(self, *args, **kwargs):
        self.act("push")
        return super().push_to_hub(*args, **kwargs)


es_trl.run.ESGRPOTrainer = Watched


def arguments(name, **changes):
    run = {"output_dir": str(FOLDER / name), "push_to_hub": True, "hub_model_id": f"tester/{name}"}
    return {**OPTIONS["lab"], **run, "save_strategy": "steps", "save_steps": 4, **changes}


def run_recipe(name, overrides=(), acts=None, **changes):
    """Run a recipe as its script does, and return what it printed and logged."""
    recipe = FOLDER.parent / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(arguments(name, model_name_or_path=BASE_MODEL, dtype="float32", **changes)))
    Watched.acts = acts or {}
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        try:
            es_trl.run.train(
                es_trl.recipe.RecipeParser().parse(["--config", str(recipe), *overrides]), DATASET, countdown_reward
            )
            ended = None
        except (SystemExit, KeyboardInterrupt) as error:
            ended = error
    print(output.getvalue())
    return output.getvalue().splitlines(), ended


def weights_equal(model):
    own = Watched.latest.accelerator.unwrap_model(Watched.latest.model).state_dict()
    other = model.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


def round_trip():
    del os.environ["HF_TOKEN"]
    output, _ = run_recipe(
        "round_trip",
        ["--learning_rate", "2e-3", "--entropy_schedule.target", "0.4"],
        hub_token=TOKEN,
        dataset_name="prompts.jsonl",
        entropy_schedule={"kind": "constant", "target": 0.5},
        env={"SOME_API_KEY": "abc", "PLAIN": "1"},
    )
    private = False
    try:
        AutoModelForCausalLM.from_pretrained("tester/round_trip")
    except OSError:
        private = True
    os.environ["HF_TOKEN"] = TOKEN
    model = AutoModelForCausalLM.from_pretrained("tester/round_trip")
    args = torch.load(FOLDER / "round_trip" / "training_args.bin", weights_only=False)
    again = es_trl.recipe.RecipeParser().parse(["--config", str(FOLDER / "round_trip" / "es_recipe.yaml")])
    return {
        "output": output,
        "private": private,
        "equal": weights_equal(model),
        "tokens": AutoTokenizer.from_pretrained("tester/round_trip")("3 5 2=17:")["input_ids"],
        "saved_token": args.hub_token,
        "again": [again.training.learning_rate, repr(again.training.entropy_schedule), again.training.hub_token],
    }


def refusals():
    """The messages of runs that cannot push; a model that is nowhere would be missed if it were looked for."""

    def refused(name, token=TOKEN, **changes):
        os.environ["HF_TOKEN"] = token
        try:
            ESGRPOTrainer("no/such-model", countdown_reward, ESGRPOConfig(**arguments(name, **changes)), DATASET)
        except ValueError as error:
            return str(error)
        finally:
            os.environ["HF_TOKEN"] = TOKEN

    HUB.repositories |= {"other/there": Repository(private=False), "tester/public": Repository(private=False)}
    messages = {
        "wrong token": refused("wrong", token="hf_WRONGwrongWRONGwrongWRONG"),
        "foreign namespace": refused("foreign", hub_model_id="other/foreign"),
        "foreign repository": refused("foreign", hub_model_id="other/there"),
        "public repository": refused("public"),
        "no name": refused("name", hub_model_id="tester/a/b"),
        "private Space": refused("space", report_to="trackio", trackio_static_space_id="tester/curves"),
        "token in a field": refused("field", model_init_kwargs={"token": TOKEN}),
    }
    HUB.faults.append(Fault("GET /api/models/tester/mirror", 404, times=2))  # has neither question
    HUB.faults.append(Fault("GET /api/models/tester/broken", 500))
    messages["a mirror"] = open_repository(ESGRPOConfig(**arguments("mirror"), hub_private_repo=True))
    messages["a broken mirror"] = refused("broken")
    HUB.faults.clear()
    HUB.stop()
    messages["no Hub"] = refused("away")
    HUB.start()
    return messages


def outage():
    def back(trainer):
        trainer.push_in_progress.wait_until_done()
        HUB.start()

    output, _ = run_recipe("outage", max_steps=12, acts={0: lambda trainer: HUB.stop(), 1: back})
    return {"output": output, "missed": Watched.latest.missed_pushes, "records": Watched.latest.history.records}


def left_out():
    """The upload of the first save lasts until training has ended."""
    acts = {
        0: lambda trainer: (HUB.arrived.clear(), HUB.open.clear()),
        1: lambda trainer: HUB.arrived.wait(60),
        "wait": lambda trainer: HUB.open.set(),
    }
    output, _ = run_recipe("left_out", acts=acts)
    return {"output": output}


def trackio():
    """Logs that stay here; and a Space that is asked for, on a Hub that has no Spaces."""
    calls = len(HUB.calls)
    run_recipe("trackio", report_to="trackio", project="lab", max_steps=4)
    (database,) = (FOLDER / "logs").glob("lab*.db")
    with sqlite3.connect(database) as connection:
        (rows,) = connection.execute("select count(*) from metrics").fetchone()
    result = {"rows": rows, "calls": HUB.calls[calls:], "static": Watched.latest.args.trackio_static_space_id}
    changes = {"report_to": "trackio", "project": "lab", "trackio_static_space_id": "tester/curves", "max_steps": 4}
    args = ESGRPOConfig(**arguments("space", hub_private_repo=False, **changes))
    trainer = Watched(BASE_MODEL, countdown_reward, args, DATASET)
    trainer.train()
    public = not HUB.repositories["tester/space"].private
    return {**result, "updates": trainer.state.global_step, "missed": trainer.missed_pushes, "public": public}


def adapter():
    run_recipe("adapter", use_peft=True, lora_r=4, lora_target_modules=["q_proj", "v_proj"], max_steps=4)
    model = AutoPeftModelForCausalLM.from_pretrained("tester/adapter")
    trained = any(value.abs().sum() > 0 for name, value in model.state_dict().items() if "lora_B" in name)
    return {"equal": weights_equal(model), "trained": trained}


def checkpoint():
    def end(trainer):
        raise KeyboardInterrupt

    run_recipe("whole", push_to_hub=False, max_steps=12, save_steps=6)
    whole = Watched.latest.accelerator.unwrap_model(Watched.latest.model)
    _, ended = run_recipe("checkpoint", hub_strategy="checkpoint", max_steps=12, save_steps=6, acts={2: end})
    Watched.latest._finish_current_push()
    there = Path(snapshot_download("tester/checkpoint", allow_patterns="last-checkpoint/*")) / "last-checkpoint"
    run_recipe(
        "checkpoint", ["--resume_from_checkpoint", str(there)], hub_strategy="checkpoint", max_steps=12, save_steps=6
    )
    return {
        "ended": type(ended).__name__,
        "step": json.loads((there / "trainer_state.json").read_text())["global_step"],
        "equal": weights_equal(whole),
        "rollouts": [record["rollout"] for record in Watched.latest.history.records],
    }


def errors():
    """One error that is tried again within the push, one save that never arrives, and a last push that fails."""

    def order(times, wait=False):
        def act(trainer):
            if wait:
                trainer.push_in_progress.wait_until_done()
            HUB.faults = [Fault("POST .*/commit/", 503, times)]

        return act

    acts = {0: order(1), 1: order(6, wait=True), 2: order(0, wait=True), "push": order(10**9)}
    output, ended = run_recipe("errors", max_steps=12, acts=acts)
    titles = [title for title, _ in HUB.repositories["tester/errors"].commits]
    HUB.faults = []
    command = str(ended).splitlines()[-1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    later = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    result = {"output": output, "titles": titles, "later": later.returncode, "said": later.stdout + later.stderr}
    return result, ended


def store(name, result):
    (FOLDER / f"{name}.json").write_text(json.dumps(result))


def main():
    for scenario in (round_trip, refusals, outage, left_out, trackio, adapter, checkpoint):
        started = time.perf_counter()
        store(scenario.__name__, scenario())
        print(f"{scenario.__name__}: {time.perf_counter() - started:.1f} s", flush=True)
    result, ended = errors()
    store("errors", result)
    for name, repository in HUB.repositories.items():
        for index, (title, files) in enumerate(repository.commits):
            for path, content in {**files, "TITLE": title.encode()}.items():
                target = FOLDER / "hub" / name.split("/")[1] / str(index) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    raise ended


if __name__ == "__main__":
    main()
