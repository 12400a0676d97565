"""The curriculum in the trainer: what a switch changes, and what it leaves."""

import pytest
import torch
from stage_runs import ANNEAL, DATASETS, SWITCH, make

from es_trl.trainer.stage_switch import check_engine


@pytest.fixture(scope="module", params=["completions", "prompts"])
def switched(request, tmp_path_factory):
    """A run of 6 rollouts whose stage changes at the onset, rollout 3."""
    # cut by their number, so that the backward passes of a stage can be counted
    own = {"micro_batches": "completions", "curriculum": [{**SWITCH, "hold": request.param}]}
    trainer = make(tmp_path_factory.mktemp("run"), **ANNEAL, **own)
    trainer.train()
    return request.param, trainer


def test_switch_is_at_the_planned_rollout(switched):
    hold, trainer = switched
    records = trainer.history.records
    assert [record["stage"] for record in records] == ["stable"] * 3 + ["anneal"] * 3
    assert [record["curriculum_stage"] for record in records] == [0, 0, 0, 1, 1, 1]
    assert [record["num_generations"] for record in records] == [4] * 3 + [8] * 3
    assert [record["max_completion_length"] for record in records] == [12] * 3 + [16] * 3
    assert [record["global_step"] for record in records] == [0, 4, 8, 12, 16, 20]  # as many updates as before
    hard, prompts = set(DATASETS["hard"]["prompt"]), 2 if hold == "completions" else 4
    for rollout, asked in enumerate(trainer.prompts):
        size, generations = (4, 4) if rollout < 3 else (prompts, 8)
        assert len(asked) == size * generations
        groups = [asked[i : i + generations] for i in range(0, len(asked), generations)]
        assert all(len(set(group)) == 1 for group in groups) and len({group[0] for group in groups}) == size
        assert (set(asked) <= hard) == (rollout >= 3)


def test_advantages_sum_to_zero_in_every_group(switched):
    hold, trainer = switched
    per_rollout = [4] * 3 + [4 if hold == "completions" else 8] * 3  # backward passes, one or two per update
    passes = iter(trainer.passes)
    for rollout, count in enumerate(per_rollout):
        batches = [next(passes) for _ in range(count)]
        assert {len(batch["advantages"]) for batch in batches} == {4}  # none is larger than the configuration's
        advantages = torch.cat([batch["advantages"] for batch in batches])
        groups = torch.cat([batch["prompt_index"] for batch in batches])
        assert torch.bincount(groups).tolist() == [4 if rollout < 3 else 8] * (len(advantages) // (4, 8)[rollout >= 3])
        sums = torch.zeros(int(groups.max()) + 1).index_add_(0, groups, advantages)
        assert sums.abs().max() < 1e-5
    assert next(passes, None) is None


def test_everything_that_keeps_a_copy_followed(switched):
    hold, trainer = switched
    completions = 16 if hold == "completions" else 32
    assert (trainer.num_generations, trainer.max_completion_length) == (8, 16)
    assert trainer.generation_config.max_new_tokens == trainer.generation_kwargs["max_new_tokens"] == 16
    for name in ("prompt", "completion", "advantages"):
        assert trainer._logs[name].maxlen == len(trainer._logs[name]) == completions
    rewards = trainer._logs["rewards"]["countdown_reward"]
    assert rewards.maxlen == len(rewards) == completions


def test_a_second_run_of_the_same_trainer_begins_in_the_first_stage(switched):
    _, trainer = switched
    trainer.train()
    assert [record["num_generations"] for record in trainer.history.records] == [4] * 3 + [8] * 3


def test_switch_is_an_event_with_its_jump(switched):
    hold, trainer = switched
    records = trainer.history.records
    assert [record["jump"] is not None for record in records] == [False, False, False, True, False, False]
    assert records[3]["jump"] == records[3]["entropy"] - records[2]["entropy"]
    assert records[3]["events"][0]["kind"] == "switch"
    assert "num_generations 4 -> 8, max_completion_length 12 -> 16" in records[3]["events"][0]["message"]
    # the control waits for one rollout, or goes back to its start where entropy jumped up; then it goes on
    waits = 0.0 if hold == "prompts" else records[2]["control"]
    assert records[3]["control"] == waits != records[4]["control"]


class Engine:
    """What `check_engine` reads of TRL's `VLLMGeneration`."""

    def __init__(self, mode, length):
        self.mode = mode
        self.accelerator = self.llm = self.llm_engine = self.vllm_client = self
        self.is_main_process = True
        self.model_config = self
        self.max_model_len = length

    def get_server_info(self):
        return {"model_config": {"max_model_len": self.max_model_len}}


@pytest.mark.parametrize(("mode", "knob"), [("colocate", "vllm_max_model_length"), ("server", "--max-model-len")])
def test_an_engine_for_shorter_stages_is_refused(mode, knob, switched):
    planned = switched[1].curriculum.prompts.planned
    check_engine(Engine(mode, 17), planned)
    with pytest.raises(ValueError, match=f"{knob} must be above 16, .* got 16 .*: set it to 16 plus"):
        check_engine(Engine(mode, 16), planned)
