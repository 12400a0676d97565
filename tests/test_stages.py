"""The curriculum in the trainer: what a switch changes, and what it leaves."""

import inspect

import pytest
import torch
from conftest import BONUS, LAB_ARGS, without_seconds
from trl import GRPOTrainer

from es_trl import Curriculum, ESGRPOConfig, ESGRPOTrainer, Stage
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.rewards import SoftOverlongPunishment
from es_trl.trainer.stage_switch import check_engine


ANNEAL = {"entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5}}
SWITCH = {"start": "onset", "data": "hard", "num_generations": 8, "max_completion_length": 16}
DATASETS = {"train": countdown_dataset(64, seed=1), "hard": countdown_dataset(64, seed=2, num_numbers=(4,))}


class Watching(ESGRPOTrainer):
    """Keeps the prompts of every generation and what every backward pass saw."""

    def __init__(self, *args, **kwargs):
        self.prompts, self.passes = [], []
        super().__init__(*args, **kwargs)

    def _generate(self, prompts):
        self.prompts.append(list(prompts))
        return super()._generate(prompts)

    def _compute_loss(self, model, inputs):
        self.passes.append({k: v.clone() for k, v in inputs.items()})
        return super()._compute_loss(model, inputs)


def make(tmp_path, name="run", datasets=DATASETS, reward=countdown_reward, callbacks=None, **changes):
    args = ESGRPOConfig(str(tmp_path / name), **{**LAB_ARGS, "max_steps": 24, **changes})
    return Watching(BASE_MODEL, reward, args, train_dataset=datasets, callbacks=callbacks)


@pytest.fixture(scope="module", params=["completions", "prompts"])
def switched(request, tmp_path_factory):
    """A run of 6 rollouts whose stage changes at the onset, rollout 3."""
    trainer = make(tmp_path_factory.mktemp("run"), **ANNEAL, curriculum=[{**SWITCH, "hold": request.param}])
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
    per_rollout = [4] * 3 + [4 if hold == "completions" else 8] * 3  # backward passes, one or two an update
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
    _, trainer = switched
    records = trainer.history.records
    assert [record["jump"] is not None for record in records] == [False, False, False, True, False, False]
    assert records[3]["jump"] == records[3]["entropy"] - records[2]["entropy"]
    assert records[3]["events"][0]["kind"] == "switch"
    assert "num_generations 4 -> 8, max_completion_length 12 -> 16" in records[3]["events"][0]["message"]
    # the control waits for one rollout, and goes on from the new entropy
    assert records[3]["control"] == records[2]["control"] != records[4]["control"]


def test_one_stage_is_the_run_without_a_curriculum(tmp_path):
    plain = make(tmp_path, "plain", datasets=DATASETS["train"], max_steps=12, **BONUS)
    plain.train()
    staged = make(tmp_path, "staged", datasets=DATASETS["train"], max_steps=12, callbacks=[Curriculum()], **BONUS)
    staged.train()
    assert staged.prompts == plain.prompts
    for own, other in zip(staged.history.records, plain.history.records, strict=True):
        assert {**own, "curriculum_stage": None, "seconds": 0} == {**other, "seconds": 0}
    expected = plain.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in staged.model.state_dict().items())


@pytest.mark.parametrize(
    ("loss_type", "accumulation"), [("dapo", 1), ("dapo", 2), ("grpo", 2), ("dr_grpo", 1), ("luspo", 1)]
)
def test_held_prompts_equal_larger_micro_batches(loss_type, accumulation, tmp_path):
    # 4 prompts x 8 completions, as 4 micro-batches of 8, and as 4 of 4 in two passes each
    same = {
        "loss_type": loss_type,
        "gradient_accumulation_steps": accumulation,
        "max_steps": 8 // accumulation,
        "optim": "sgd",  # Adam makes much of a gradient that is nothing but rounding
        "learning_rate": 0.05,
        "datasets": DATASETS["train"],
        **BONUS,
    }
    if loss_type == "luspo":
        same["importance_sampling_level"] = "sequence"
    large = make(tmp_path, "large", per_device_train_batch_size=8, num_generations=8, **same)
    large.train()
    stage = {"start": 0.0, "num_generations": 8, "hold": "prompts"}
    cut = make(tmp_path, "cut", curriculum=[stage], **same)
    cut.train()
    assert cut.prompts == large.prompts
    assert len(cut.passes) == 2 * len(large.passes)
    for own, other in zip(cut.history.records, large.history.records, strict=True):
        assert own["entropy"] == pytest.approx(other["entropy"], abs=1e-5)
        assert own["control"] == pytest.approx(other["control"], abs=1e-5)
    expected = large.model.state_dict()
    for name, value in cut.model.state_dict().items():
        assert torch.allclose(value, expected[name], atol=2e-6), name
    assert cut.state.log_history[0]["loss"] == pytest.approx(large.state.log_history[0]["loss"], abs=2e-4)


def test_dr_grpo_keeps_the_scale_of_its_loss(tmp_path):
    class Scale(Watching):
        def _compute_loss(self, model, inputs):
            loss = super()._compute_loss(model, inputs)
            ratio_one = inputs.get("old_per_token_logps") is None or self._step % self._generate_every == 0
            if ratio_one:
                mask = inputs["completion_mask"]
                plain = -(inputs["advantages"].unsqueeze(1) * mask).sum() / len(mask)
                self.scales = [*getattr(self, "scales", []), (plain / loss).item() if plain.abs() > 0.1 else None]
            return loss

    args = ESGRPOConfig(
        str(tmp_path), **{**LAB_ARGS, "max_steps": 24, "loss_type": "dr_grpo"}, curriculum=[{**SWITCH, "start": 0.5}]
    )
    trainer = Scale(BASE_MODEL, countdown_reward, args, train_dataset=DATASETS)
    trainer.train()
    found = [scale for scale in trainer.scales if scale is not None]
    assert len(found) >= 3 and found == pytest.approx([12.0] * len(found), rel=1e-3)  # also after the switch to 16


def test_overlong_punishment_follows_the_stage(tmp_path):
    stage = {"start": 0.5, "max_completion_length": 16, "overlong_cache": 6}
    trainer = make(tmp_path, overlong_cache=3, curriculum=[stage])
    reward = trainer.reward_funcs[-1]
    assert isinstance(reward, SoftOverlongPunishment) and (reward.cache, reward.max_completion_length) == (3, 12)
    trainer.train()
    assert (reward.cache, reward.max_completion_length) == (6, 16)
    assert "rewards/soft_overlong_punishment/mean" in trainer.state.log_history[0]


def test_a_stage_alone_can_have_the_punishment(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.5, "overlong_cache": 6}], reward_weights=[2.0])
    assert trainer.reward_weights.tolist() == [2.0, 1.0] and trainer.overlong_punishment.cache == 0
    trainer.train()
    assert trainer.overlong_punishment.cache == 6
    assert "overlong_cache 0 -> 6" in trainer.history.records[3]["events"][0]["message"]


def test_a_stage_can_end_the_punishment(tmp_path):
    trainer = make(tmp_path, overlong_cache=8, curriculum=[{"start": 0.5, "overlong_cache": 0}])
    trainer.train()
    assert trainer.overlong_punishment.cache == 0
    means = [line["rewards/soft_overlong_punishment/mean"] for line in trainer.state.log_history[:-1:4]]
    assert all(mean < 0.0 for mean in means[:3]) and means[3:] == [0.0] * 3


def test_a_punishment_of_ones_own_follows_the_length(tmp_path):
    own = SoftOverlongPunishment(6)
    stage = {"start": 0.5, "max_completion_length": 16}
    make(tmp_path, reward=[countdown_reward, own], curriculum=[stage]).train()
    assert (own.cache, own.max_completion_length) == (6, 16)
    with pytest.raises(ValueError, match="would be punished twice: keep one of them"):
        make(tmp_path, reward=[countdown_reward, own], overlong_cache=4, curriculum=[stage])
    with pytest.raises(ValueError, match="SoftOverlongPunishment's cache is 500 and a completion has at most 12"):
        make(tmp_path, reward=[countdown_reward, SoftOverlongPunishment(500)], curriculum=[stage])


def test_evaluation_has_the_sizes_of_the_stage(tmp_path):
    trainer = make(tmp_path, curriculum=[{"start": 0.0, "max_completion_length": 16}])
    assert trainer.max_completion_length == 16  # also before training begins


def test_text_and_messages_are_not_mixed(tmp_path):
    chat = DATASETS["hard"].map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    with pytest.raises(ValueError, match="of which one has prompts of text and the other of messages"):
        make(tmp_path, datasets={"train": DATASETS["train"], "hard": chat},
             curriculum=[{"start": 0.5, "data": {"train": 1, "hard": 1}}])  # fmt: skip


def test_a_curriculum_that_comes_late_is_refused(tmp_path):
    trainer = make(tmp_path, datasets=DATASETS["train"])
    trainer.add_callback(Curriculum([Stage(0.5)]))
    with pytest.raises(ValueError, match="came to the trainer after it was built: give it in `callbacks`"):
        trainer.train()


def test_overlong_filtering_follows_the_stage(tmp_path):
    # 3 tokens hold no answer: every completion is truncated and masked, until the stage gives it 12
    stage = {"start": 0.5, "max_completion_length": 12}
    trainer = make(tmp_path, max_completion_length=3, mask_truncated_completions=True, curriculum=[stage], max_steps=16)
    trainer.train()
    assert [record["entropy"] is None for record in trainer.history.records] == [True, True, False, False]


def test_order_goes_on_in_a_data_set_that_two_stages_share(tmp_path):
    trainer = make(
        tmp_path, datasets=DATASETS["train"], curriculum=[{"start": 0.5, "num_generations": 8}], max_steps=24
    )
    trainer.train()
    asked = [prompt for prompts in trainer.prompts for prompt in dict.fromkeys(prompts)]
    plain = make(tmp_path, "plain", datasets=DATASETS["train"], max_steps=24)
    plain.train()
    expected = [prompt for prompts in plain.prompts for prompt in dict.fromkeys(prompts)]
    assert asked == expected[: len(asked)] and len(asked) == 3 * 4 + 3 * 2


@pytest.mark.parametrize(
    ("datasets", "stage", "message"),
    [
        ({"train": DATASETS["train"], "hard": DATASETS["hard"].select(range(1))}, SWITCH,
         "stage 1 takes up to 2 prompts of 'hard' for one rollout, and it has 1"),
        ({"train": DATASETS["train"], "hard": DATASETS["hard"].remove_columns("target")},
         {**SWITCH, "data": {"train": 1, "hard": 1}}, "stage 1 mixes .* of which only one has target"),
        ({"easy": DATASETS["train"]}, SWITCH, "stage 0 takes its prompts from 'train', and the data sets are easy"),
        (DATASETS["train"].to_iterable_dataset(), {"start": 0.5}, "is of IterableDataset, and stages .* by their row"),
        (DATASETS["train"], SWITCH, "stage 1 takes its prompts from 'hard', and the data sets are train"),
    ],
)  # fmt: skip
def test_data_that_cannot_fill_a_stage_is_refused(datasets, stage, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, datasets=datasets, **ANNEAL, curriculum=[stage])


def test_several_data_sets_without_stages_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is a dict of data sets \(train, hard\) and nothing says which"):
        make(tmp_path)


def test_two_curricula_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there are two of Curriculum"):
        make(tmp_path, curriculum=[{"start": 0.5}], callbacks=[Curriculum([Stage(0.5)])])


def test_a_curriculum_among_the_callbacks(tmp_path):
    stages = [Stage(0.5, data={"hard": 1, "train": 1}, num_generations=8)]
    one = make(tmp_path, "one", callbacks=[Curriculum(stages)])
    one.train()
    block = [{"start": 0.5, "data": {"hard": 1, "train": 1}, "num_generations": 8}]
    other = make(tmp_path, "other", curriculum=block)
    other.train()
    assert without_seconds(one.history.records) == without_seconds(other.history.records)


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
    planned = switched[1].curriculum.planned
    check_engine(Engine(mode, 17), planned)
    with pytest.raises(ValueError, match=f"built for 16 tokens .* completions of 16: set .*{knob} to 16 plus"):
        check_engine(Engine(mode, 16), planned)


def test_trl_reads_the_length_in_its_loss_for_dr_grpo_alone():
    loss = inspect.getsource(inspect.unwrap(GRPOTrainer._compute_loss))
    assert loss.count("max_completion_length") == 1 and "per_token_loss.size(0) * self.max_completion_length" in loss
