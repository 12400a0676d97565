"""Server mode: completions over HTTP from a vLLM process of its own."""

from pathlib import Path

import cpu_server
import pytest
from conftest import EXACT, STALE, VLLM_ARGS
from lab_runs import BONUS, without_seconds
from launching import launch
from stage_runs_vllm import CONTROLLED, SHORT, SWITCH
from trl.generation.vllm_client import VLLMClient

from es_trl.lab import BASE_MODEL, countdown_dataset


WORKER = Path(__file__).parent / "vllm_worker.py"


@pytest.fixture(scope="module")
def mode(tmp_path_factory):
    """The configuration of a run with the server, which is up."""
    cpu_server.adapt()
    folder = tmp_path_factory.mktemp("server")
    server = cpu_server.Server(BASE_MODEL, 32, folder / "log.txt")
    try:
        server.wait()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VLLM_WEIGHTS_FOLDER", str(folder / "weights"))
            yield {"vllm_mode": "server", "vllm_server_base_url": server.url, "vllm_max_model_length": None}
    finally:
        server.end()


@pytest.fixture
def asked(monkeypatch):
    """What the server is asked for: prompts, completions of each, and tokens that each may have."""
    calls, generate = [], VLLMClient.generate

    def counted(client, prompts, **kwargs):
        calls.append((len(prompts), kwargs["n"], kwargs["max_tokens"]))
        return generate(client, prompts, **kwargs)

    monkeypatch.setattr(VLLMClient, "generate", counted)
    return calls


def test_the_server_follows_the_stages(mode, vllm_trainer, asked):
    trainer = vllm_trainer(**mode, curriculum=[SWITCH], **SHORT, **CONTROLLED)
    trainer.train()
    assert asked == [(2, 8, 4), (2, 8, 4), (2, 32, 16), (2, 32, 16)]
    records = trainer.history.records
    assert [record["completion_tokens"] for record in records[:2]] == [4.0, 4.0]
    assert all(7.0 < record["completion_tokens"] <= 16.0 for record in records[2:])
    assert max(record["logp_difference"] for record in records) < EXACT


def test_early_completions_are_asked_for_by_their_number(mode, vllm_trainer, asked):
    own = {"early_generations": 3, "early_pass_rates": [0.0, 0.8], "dynamic_sampling_tries": 3}
    trainer = vllm_trainer(**mode, num_generations=8, max_steps=4, **own)
    trainer.train()
    (record,) = trainer.history.records
    early = [count for count, n, _ in asked if n == 3]
    assert sum(early) == record["early_exit"]["prompts"] == 2 + record["sampling"]["fresh_prompts"]
    assert sum(count for count, n, _ in asked if n == 5) == sum(early) - record["early_exit"]["left"]
    assert {n for _, n, _ in asked} == {3, 5} and record["logp_difference"] < EXACT


def test_a_server_for_shorter_completions_is_refused(mode, vllm_trainer):
    long = {**SWITCH, "max_completion_length": 32}
    with pytest.raises(ValueError, match="the server's --max-model-len must be above 32, .* got 32"):
        vllm_trainer(**mode, curriculum=[long], **SHORT, **CONTROLLED)


@pytest.mark.parametrize("syncs", [True, False])
def test_weights_reach_the_server(syncs, mode, vllm_trainer, monkeypatch):
    trainer = vllm_trainer(**mode, steps_per_generation=1, max_steps=12, learning_rate=5e-3)
    if not syncs:
        trainer.vllm_generation.sync_weights()
        monkeypatch.setattr(VLLMClient, "update_named_params", lambda client, metadata, named_params: None)
    trainer.train()
    differences = [record["logp_difference"] for record in trainer.history.records]
    assert len(differences) == 12 and differences[0] < EXACT
    assert max(differences) < EXACT if syncs else max(differences) > STALE


def test_evaluations_bring_a_seed(mode, vllm_trainer, monkeypatch):
    # a request without a seed draws from the server's own state, and the order of its requests is never the same
    seeds, generate = [], VLLMClient.generate

    def noted(client, prompts, **kwargs):
        seeds.append((len(prompts), kwargs["n"], (kwargs["generation_kwargs"] or {}).get("seed")))
        return generate(client, prompts, **kwargs)

    monkeypatch.setattr(VLLMClient, "generate", noted)
    evaluation = {"eval_strategy": "steps", "eval_steps": 2, "num_generations_eval": 8, "eval_pass_at_k": [1, 8]}
    problems = countdown_dataset(4, seed=9)
    trainer = vllm_trainer(eval_dataset=problems, **mode, **evaluation, per_device_eval_batch_size=32, max_steps=4)
    one, other = ({name: v for name, v in trainer.evaluate().items() if "pass" in name} for _ in range(2))
    assert one == other and one["eval_pass@1"] < one["eval_pass@8"]
    trainer.train()
    seed = trainer.args.seed
    assert seeds == [(4, 8, seed)] * 2 + [(4, 4, None), (4, 8, seed), (4, 8, seed)]
    assert trainer.vllm_generation.generation_kwargs in ({}, None)


def test_two_processes_with_zero3_share_the_server(mode, tmp_path):
    run = {**VLLM_ARGS, **mode, "by_rule": False, "per_device_train_batch_size": 2, "learning_rate": 2e-3, **BONUS}
    first, second = launch(tmp_path, 2, "zero3", worker=WORKER, **run)
    assert (first["world"], first["wrapper"]) == (2, "DeepSpeedEngine")
    records = without_seconds(first["records"])
    assert records == without_seconds(second["records"]) and len(records) == 2
    assert max(record["logp_difference"] for record in records) < EXACT
