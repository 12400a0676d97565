import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from lab_runs import LAB_ARGS

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.curriculum.dynamic_sampling import DynamicSampling, ScoredCompletions, uniform_groups
from es_trl.lab import BASE_MODEL


NAN = float("nan")


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([[1, 1, 1], [1, -1, 1]], [True, False]),
        ([[0.1, 0.1, 0.1], [0.1, 0.1, 0.1000001]], [True, False]),  # no tolerance hides a difference
        ([[1, NAN, 1], [1, NAN, -1]], [True, False]),  # a completion without a reward is left out
        ([[NAN, NAN, NAN], [0, 0, 0]], [True, True]),
    ],
)
def test_uniform_is_equality(rewards, expected):
    column = torch.tensor(rewards, dtype=torch.float64).flatten().unsqueeze(1)
    assert uniform_groups(column, 3).tolist() == expected


def test_with_several_functions():
    # the weighted sums of the first prompt are equal, 1 + 2 * 0 and 0 + 2 * 0.5, though neither function's are
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [1.0, 0.5]])
    weights = torch.tensor([1.0, 2.0])
    accelerator = Accelerator(cpu=True)
    assert DynamicSampling(1, weights, False, accelerator).uniform(rewards, 2).tolist() == [True, False]
    assert DynamicSampling(1, weights, True, accelerator).uniform(rewards, 2).tolist() == [False, False]


def answers(rewards):
    """Groups of two completions with given rewards; an entry is named by them."""
    entries = [{"row": {"prompt": str(rewards[i // 2])}, "completion_ids": [1, 2, 3]} for i in range(2 * len(rewards))]
    return ScoredCompletions(entries, torch.tensor(rewards, dtype=torch.float32).view(-1, 1))


def refill(own, tries, later):
    """Refill `own`, where the n-th try is answered with `later[n]`; returns what remains, the cost, and the sizes."""
    sizes = []

    def draw(count):
        sizes.append(count)
        return [None] * (2 * count)

    sampling = DynamicSampling(tries, torch.ones(1), False, Accelerator(cpu=True))
    uniform, cost = sampling.refill(own, 2, draw, lambda rows: answers(later[len(sizes) - 1]))
    return uniform.tolist(), cost, sizes


def test_replaces_what_is_uniform_and_no_more():
    own = answers([[1, 1], [1, -1], [-1, -1], [1, 1]])
    uniform, cost, sizes = refill(own, 5, [[[1, -1], [1, 1], [1, 1]], [[-1, 1], [-1, 1]]])
    assert sizes == [3, 2]  # as many as were missing
    assert uniform == [False] * 4
    assert own.rewards.flatten().tolist() == [1, -1, 1, -1, -1, 1, -1, 1]
    assert [entry["row"]["prompt"] for entry in own.entries[::2]] == ["[1, -1]", "[1, -1]", "[-1, 1]", "[-1, 1]"]
    assert (cost.tries, cost.fresh_prompts, cost.masked_prompts) == (2, 5, 0)
    assert cost.extra_tokens == 5 * 2 * 3 and cost.first_reward == pytest.approx((2 + 0 - 2 + 2) / 8)


def test_tries_are_bounded():
    uniform, cost, sizes = refill(answers([[1, 1], [1, -1], [1, 1]]), 2, [[[1, 1]] * 2] * 2)
    assert (uniform, sizes, cost.masked_prompts) == ([True, False, True], [2, 2], 2)


def test_without_need_nothing_is_generated():
    assert refill(answers([[1, -1]]), 3, [])[2] == []


def test_tries_are_shared_equally_by_the_processes():
    class Four:
        num_processes, process_index = 4, 0

    sampling = DynamicSampling(1, torch.ones(1), False, Four())
    assert [sampling._shareable(n, 8) for n in (1, 3)] == [1, 3]  # 8 completions of a prompt: 2 for each process
    assert [sampling._shareable(n, 6) for n in (1, 2, 3)] == [2, 2, 4]  # 6 are 1.5 for each, 12 are 3


# --- in the trainer ---------------------------------------------------------------------------------------------------


def known(prompts):
    """Prompts whose rewards are known: of `mixed` ones every second completion is right."""
    return Dataset.from_dict({"prompt": [f"{n}=" for n in range(len(prompts))], "kind": prompts})


def reward_by_kind(completions, kind, **kwargs):
    return [{"right": 1.0, "wrong": -1.0, "mixed": 1.0 if i % 2 else -1.0}[k] for i, k in enumerate(kind)]


class Watching(ESGRPOTrainer):
    """Keeps what the loss saw."""

    def _compute_loss(self, model, inputs):
        self.seen = [*getattr(self, "seen", []), {k: v.clone() for k, v in inputs.items()}]
        return super()._compute_loss(model, inputs)


def train(tmp_path, prompts, trainer_class=Watching, reward=reward_by_kind, **changes):
    args = ESGRPOConfig(str(tmp_path / "run"), **{**LAB_ARGS, "shuffle_dataset": False, **changes})
    trainer = trainer_class(BASE_MODEL, reward, args, train_dataset=known(prompts))
    trainer.train()
    return trainer


def test_only_mixed_groups_are_left(tmp_path):
    kinds = ["mixed", "right", "wrong", "mixed"] * 8
    trainer = train(tmp_path, kinds, dynamic_sampling_tries=4)
    assert [record["sampling"]["masked_prompts"] for record in trainer.history.records] == [0, 0]
    for inputs in trainer.seen:
        assert inputs["advantages"].abs().min() > 0.5  # +-1 normalised within the group; 0 in a uniform one
        assert inputs["completion_mask"].any(dim=1).all()
    first = trainer.history.records[0]["sampling"]
    # rows 0 to 3 hold two mixed ones; rows 4 and 5 one, row 6 none, row 7 the other
    assert (first["tries"], first["fresh_prompts"], first["first_reward"]) == (3, 4, 0.0)
    assert trainer.history.records[0]["reward"] == 0.0 and first["extra_tokens"] > 0
    # of the completions that are trained on, not of those that were generated first
    ends = torch.tensor([*trainer.eos_token_ids, trainer.processing_class.pad_token_id])
    for number, record in enumerate(trainer.history.records):
        batches = trainer.seen[4 * number : 4 * number + 4]
        lengths = [batch["completion_mask"].sum(dim=1, keepdim=True) for batch in batches]
        last = [batch["completion_ids"].gather(1, each - 1) for batch, each in zip(batches, lengths, strict=True)]
        assert record["completion_tokens"] == torch.cat(lengths).float().mean()
        assert record["truncated_completions"] == 1.0 - torch.isin(torch.cat(last), ends).float().mean()


def test_what_cannot_be_replaced_is_masked(tmp_path):
    trainer = train(tmp_path, ["mixed", "right", "wrong", "wrong"] * 8, dynamic_sampling_tries=1, max_steps=4)
    sampling = trainer.history.records[0]["sampling"]
    # of rows 0 to 3 one is mixed, and of the three fresh ones another
    assert (sampling["tries"], sampling["fresh_prompts"], sampling["masked_prompts"]) == (1, 3, 2)
    masks = torch.cat([inputs["completion_mask"].any(dim=1) for inputs in trainer.seen])
    advantages = torch.cat([inputs["advantages"] for inputs in trainer.seen])
    assert masks.sum() == 8 and torch.equal(masks, advantages != 0.0)
    tokens = sum(inputs["completion_mask"].sum() for inputs in trainer.seen)
    assert all(inputs["num_items_in_batch"] == tokens for inputs in trainer.seen)


def test_nothing_mixed_ends_with_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"rollout 0 has no prompt .* after 2 more generations for 8 fresh prompts"):
        train(tmp_path, ["right", "wrong"] * 16, dynamic_sampling_tries=2)


def test_columns_that_rewards_log_follow_their_completions(tmp_path):
    def reward(completions, kind, log_extra, **kwargs):
        log_extra("kind", kind)
        return reward_by_kind(completions, kind)

    trainer = train(tmp_path, ["mixed", "right"] * 16, reward=reward, dynamic_sampling_tries=4, max_steps=1)
    assert list(trainer._logs["extra"]["kind"]) == ["mixed"] * 16
    assert len(trainer._logs["prompt"]) == len(trainer._logs["completion"]) == 16


@pytest.mark.parametrize("column", ["image", "images"])
def test_images_are_refused(column, tmp_path):
    dataset = known(["mixed"] * 8).rename_column("kind", column)
    args = ESGRPOConfig(str(tmp_path), **LAB_ARGS, dynamic_sampling_tries=1)
    with pytest.raises(ValueError, match=f"dynamic sampling cannot replace single prompts with {column}"):
        ESGRPOTrainer(BASE_MODEL, reward_by_kind, args, train_dataset=dataset)


def test_tools_are_refused(tmp_path):
    args = ESGRPOConfig(str(tmp_path), **LAB_ARGS, dynamic_sampling_tries=1)
    with pytest.raises(ValueError, match="dynamic sampling cannot replace single prompts with tools"):
        ESGRPOTrainer(BASE_MODEL, reward_by_kind, args, train_dataset=known(["mixed"] * 8), tools=[len])


def test_negative_tries_are_refused(lab_args):
    with pytest.raises(ValueError, match="`dynamic_sampling_tries` must be a whole number >= 0, got -1"):
        lab_args(dynamic_sampling_tries=-1)
