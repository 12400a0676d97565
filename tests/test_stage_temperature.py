"""The temperature of a stage is that of its completions, loss, reference and entropy, and not of evaluations."""

from types import SimpleNamespace

import pytest
import torch
from lab_runs import BONUS, without_seconds
from plain_entropy import plain_entropy
from stage_runs import DATASETS, make
from transformers import GenerationConfig

from es_trl import Curriculum, Stage
from es_trl.__main__ import main as cli
from es_trl.lab import countdown_dataset
from es_trl.trainer.temperature import sample_at, sampled_at


def weights_of(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


AENT = {"method": "aent", "entropy_actuator": {"high": 0.45}, "entropy_controller": {"gain": 0.5, "warmup": 0}}


@pytest.mark.parametrize("changes", [{"beta": 0.05, **BONUS}, AENT], ids=["reference", "clamped"])
def test_a_stage_from_the_beginning_is_a_run_at_its_temperature(changes, tmp_path):
    same = {"datasets": DATASETS["train"], "max_steps": 4, **changes}
    whole = make(tmp_path, "whole", temperature=0.6, callbacks=[Curriculum()], **same)
    whole.train()
    staged = make(tmp_path, "staged", callbacks=[Curriculum([Stage(0.0, temperature=0.6)])], **same)
    staged.train()
    assert without_seconds(staged.history.records) == without_seconds(whole.history.records)
    assert torch.equal(weights_of(staged), weights_of(whole))
    assert staged.prompts == whole.prompts and staged.state.log_history[0]["loss"] == whole.state.log_history[0]["loss"]


@pytest.mark.parametrize("geometry", [{}, {"gradient_accumulation_steps": 4}], ids=["several", "one"])
def test_a_switch_measures_the_tempered_policy_and_does_not_blame_the_control(geometry, tmp_path):
    updates = 1 if geometry else 4
    run = {"curriculum": [{"start": 1.0, "temperature": 1.7}], "max_steps": 3 * updates, **BONUS, **geometry}
    trainer = make(tmp_path, learning_rate=0.0, **run)
    entropies = []
    close = trainer._close_rollout

    def closing():
        entropies.append(plain_entropy(trainer, trainer._buffered_inputs))  # of the logits over trainer.temperature
        close()

    trainer._close_rollout = closing
    trainer.train()
    records = trainer.history.records
    assert [record["entropy"] for record in records] == pytest.approx(entropies, abs=1e-5)
    before, after = records[1:3]
    assert after["jump"] == after["entropy"] - before["entropy"] > 0.2
    assert "temperature 1.0 -> 1.7" in after["events"][0]["message"]
    assert after["control"] == before["control"]  # the error jumps by -0.2, and kp is 1
    assert after["error"] == pytest.approx(after["target"] - after["entropy"])


def test_a_resume_inside_a_stage_goes_on(tmp_path):
    run = {"curriculum": [{"start": 0.5, "temperature": 0.5}], "max_steps": 8, "save_strategy": "steps", **BONUS}
    whole = make(tmp_path, "whole", save_steps=6, **run)  # inside the last rollout, whose stage is the second
    whole.train()
    again = make(tmp_path, "again", save_steps=6, **run)
    again.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-6")
    assert again.temperature == 0.5
    assert without_seconds(again.history.records) == without_seconds(whole.history.records)
    assert torch.equal(weights_of(again), weights_of(whole))


def test_an_evaluation_keeps_the_configurations(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.0, "temperature": 0.01}], max_steps=4)
    assert trainer.temperature == trainer.generation_config.temperature == 0.01
    seen, generate = [], trainer._generate

    def watched(prompts):
        seen.append((trainer.model.training, trainer.generation_config.temperature, trainer.temperature))
        return generate(prompts)

    trainer._generate = watched
    trainer.evaluate(countdown_dataset(4, seed=9))
    trainer.train()
    assert set(seen) == {(False, 1.0, 1.0), (True, 0.01, 0.01)}


def test_vllms_requests_have_it():
    generation = SimpleNamespace(temperature=1.0)
    trainer = SimpleNamespace(use_vllm=True, temperature=1.0, vllm_generation=generation)
    sample_at(trainer, 0.7)
    assert (trainer.temperature, generation.temperature) == (0.7, 0.7)
    with pytest.raises(RuntimeError), sampled_at(trainer, 1.0):
        assert generation.temperature == 1.0
        raise RuntimeError
    assert (trainer.temperature, generation.temperature) == (0.7, 0.7)


def test_generation_kwargs_count_more():
    args = SimpleNamespace(generation_kwargs={"temperature": 0.9})
    own = {"generation_config": GenerationConfig(temperature=0.9), "generation_kwargs": {"temperature": 0.9}}
    trainer = SimpleNamespace(use_vllm=False, temperature=1.0, args=args, **own)
    sample_at(trainer, 1.0)
    assert trainer.generation_config.temperature == trainer.generation_kwargs["temperature"] == 0.9


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "hot", True])
def test_a_temperature_must_be_above_0(temperature):
    with pytest.raises(ValueError, match="`temperature` must be a finite number > 0, got .*: set for example 1.0"):
        Stage(0.5, temperature=temperature)


def test_generation_kwargs_fix_it_for_all_stages(tmp_path):
    with pytest.raises(ValueError, match="generation_kwargs sets temperature for the whole run but the stages"):
        make(tmp_path, generation_kwargs={"temperature": 0.9}, curriculum=[{"start": 0.5, "temperature": 0.5}])


def test_plan_shows_it(capsys):
    stage = '[{"start": 0.5, "temperature": 0.8}]'
    assert cli(["plan", "recipes/countdown_es.yaml", "--curriculum", stage]) == 0
    header, first, second = (line.split() for line in capsys.readouterr().out.split("stage  ")[1].splitlines()[:3])
    place = header.index("temperature") - len(header)
    assert (first[place], second[place]) == ("1", "0.8")
