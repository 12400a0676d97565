import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from lab_runs import LAB_ARGS

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.curriculum.dynamic_sampling import Filling
from es_trl.curriculum.prompt_choice import PromptChoice, uniform_groups
from es_trl.curriculum.scored import ScoredCompletions, bring, own_share
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


def choice(tries, weights=(1.0,), by_function=False):
    return PromptChoice(tries, torch.tensor(weights), by_function, len(weights))


def test_with_several_functions():
    # the weighted sums of the first prompt are equal, 1 + 2 * 0 and 0 + 2 * 0.5, though neither function's are
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [1.0, 0.5]])
    assert choice(1, (1.0, 2.0)).mixed(rewards, 2).tolist() == [False, True]
    assert choice(1, (1.0, 2.0), by_function=True).mixed(rewards, 2).tolist() == [True, True]


def answers(rewards):
    """Groups of two completions of three tokens with given rewards; an entry is named by them."""
    entries = [{"row": {"prompt": str(rewards[i // 2])}} for i in range(2 * len(rewards))]
    return ScoredCompletions(entries, torch.tensor(rewards, dtype=torch.float32).view(-1, 1), [3] * len(entries))


def fill(tries, *generations):
    """Fill a rollout whose n-th generation is `generations[n]`; returns the result, its prompts, and the sizes."""
    sizes = []

    def complete(prompts, count):
        assert count == 2
        sizes.append(len(prompts))
        return answers(generations[len(sizes) - 1])

    filling = Filling(choice(tries), 2, complete)
    filled = filling.fill([{}] * len(generations[0]), lambda count: [{}] * count)
    entries = bring(filled.sources, filling.generations, Accelerator(cpu=True))
    return filled, [entry["row"]["prompt"] for entry in entries], sizes


def test_replaces_what_is_uniform_and_no_more():
    first = [[1, 1], [1, -1], [-1, -1], [1, 1]]
    filled, prompts, sizes = fill(5, first, [[1, -1], [1, 1], [1, 1]], [[-1, 1], [-1, 1]])
    assert sizes == [4, 3, 2]  # as many as were missing
    assert not filled.masked.any() and filled.early_exit is None
    assert filled.rewards.flatten().tolist() == [1, -1, 1, -1, -1, 1, -1, 1]
    assert prompts[::2] == prompts[1::2] == ["[1, -1]", "[1, -1]", "[-1, 1]", "[-1, 1]"]
    cost = filled.sampling
    assert (cost.tries, cost.fresh_prompts, cost.masked_prompts) == (2, 5, 0)
    assert cost.extra_tokens == 5 * 2 * 3 and cost.first_reward == pytest.approx((2 + 0 - 2 + 2) / 8)


def test_tries_are_bounded():
    filled, _, sizes = fill(2, [[1, 1], [1, -1], [1, 1]], *[[[1, 1]] * 2] * 2)
    assert (filled.masked.tolist(), sizes, filled.sampling.masked_prompts) == ([True, False, True], [3, 2, 2], 2)


def test_without_need_nothing_is_generated():
    assert fill(3, [[1, -1]])[2] == [1]


@pytest.mark.parametrize(("prompts", "processes"), [(1, 1), (3, 2), (5, 4), (1, 4)])
def test_prompts_are_shared_equally_by_the_processes(prompts, processes):
    rows = [{"prompt": str(i)} for i in range(prompts)]
    shares = [own_share(rows, process, processes) for process in range(processes)]
    assert len({len(share) for share in shares}) == 1
    together = [row for share in shares for row in share]
    assert together[:prompts] == rows and all(row == rows[-1] for row in together[prompts:])
    assert len({id(row) for row in together}) == len(together) < prompts + processes  # a row may be changed


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
