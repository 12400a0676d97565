"""A run with its entropy controlled and a switch to more and longer completions, in colocate mode."""

import pytest
from conftest import EXACT
from stage_runs_vllm import CONTROLLED, SHORT, SWITCH
from vllm import LLM


@pytest.fixture
def asked(monkeypatch):
    """What the engine is asked for: completions, and tokens that each may have."""
    calls, generate = [], LLM.generate

    def counted(self, prompts, sampling_params, **kwargs):
        calls.append((len(prompts), sampling_params.max_tokens))
        return generate(self, prompts, sampling_params, **kwargs)

    monkeypatch.setattr(LLM, "generate", counted)
    return calls


@pytest.mark.parametrize(("tries", "early"), [(0, 0), (3, 0), (9, 6)])
def test_the_engine_follows_the_stages(tries, early, vllm_trainer, asked):
    own = {"dynamic_sampling_tries": tries}
    if early:
        own |= {"early_generations": early, "early_pass_rates": [0.0, 0.9]}
    trainer = vllm_trainer(curriculum=[SWITCH], **own, **SHORT, **CONTROLLED)
    engine = trainer.vllm_generation.llm
    assert engine.llm_engine.model_config.max_model_len == 32  # holds the longest stage from the start
    trainer.train()
    assert trainer.vllm_generation.llm is engine
    records = trainer.history.records
    assert [record["num_generations"] for record in records] == [8, 8, 32, 32]
    assert [record["max_completion_length"] for record in records] == [4, 4, 16, 16]
    # no expression over three numbers has 4 characters, and none over four is shorter than 7
    assert [record["completion_tokens"] for record in records[:2]] == [4.0, 4.0]
    assert all(7.0 < record["completion_tokens"] <= 16.0 for record in records[2:])
    assert max(record["logp_difference"] for record in records) < EXACT
    assert [record["cut_ratios"] for record in records] == [0.0] * 4
    assert sum(size for size, _ in asked) == sum(
        record["num_generations"] * (2 + (record["sampling"] or {"fresh_prompts": 0})["fresh_prompts"])
        - (record["num_generations"] - early) * (record["early_exit"] or {"left": 0})["left"]
        for record in records
    )
    if early:
        assert sum(record["early_exit"]["left"] for record in records) > 0
        assert asked[0] == (2 * early, 4)
    elif tries == 0:
        assert asked == [(16, 4), (16, 4), (64, 16), (64, 16)]
    else:
        assert sum(record["sampling"]["tries"] for record in records) == len(asked) - 4 > 0
    # entropy is controlled: by the policy's own entropy, with the actuator's bonus
    for record in records:
        assert record["error"] == pytest.approx(record["target"] - record["entropy"])
        assert record["settings"] == {"entropy_bonus": record["control"]} and 0.1 < record["entropy"] < 2.0
    assert len({record["control"] for record in records}) > 1
    assert [record["jump"] is None for record in records] == [True, True, False, True]


def test_an_engine_for_shorter_completions_is_refused(vllm_trainer):
    with pytest.raises(ValueError, match="vllm_max_model_length must be above 16, .* got 16"):
        vllm_trainer(curriculum=[SWITCH], vllm_max_model_length=16, **SHORT, **CONTROLLED)
    # not set, it is what the model takes, which is known when the engine is there
    long = {**SWITCH, "max_completion_length": 256}
    with pytest.raises(ValueError, match="vllm_max_model_length must be above 256, .* got 256"):
        vllm_trainer(curriculum=[long], vllm_max_model_length=None, **SHORT, **CONTROLLED)
