"""Early exit: prompts that are nearly always or nearly never answered right are left after few completions."""

import random

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from lab_runs import LAB_ARGS

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.curriculum.dynamic_sampling import Filling, nothing_to_learn
from es_trl.curriculum.prompt_choice import PromptChoice, pass_rates
from es_trl.curriculum.scored import ScoredCompletions, bring
from es_trl.lab import BASE_MODEL


NAN = float("nan")


def choice(early, rates, tries=0, weights=(1.0,), functions=1):
    return PromptChoice(tries, torch.tensor(weights), False, functions, early, rates)


def test_pass_rates():
    rewards = torch.tensor([[1.0, -1.0, 0.5, 0.0], [NAN, 1.0, 1.0, 0.0], [NAN] * 4])
    rates = pass_rates(rewards.flatten(), 4)
    assert rates[:2].tolist() == [0.5, 2 / 3] and rates[2].isnan()


@pytest.mark.parametrize("early", [5, 10, 16, 20])
def test_the_range_holds_its_ends(early):
    groups = torch.tensor([[1.0] * right + [-1.0] * (early - right) for right in range(early + 1)])
    for low, high in [(1, early - 1), (0, early), (2, 2)]:
        went_on = choice(early, (low / early, high / early)).goes_on(groups.view(-1, 1)).tolist()
        assert went_on == [low <= right <= high for right in range(early + 1)]


def test_the_overlong_punishment_is_left_out():
    # the second column is the punishment; with it no sum is above 0
    rewards = torch.tensor([[1.0, -1.0], [0.0, -1.0], [0.0, 0.0], [0.0, 0.0], [NAN, 0.0], [NAN, 0.0]])
    assert choice(2, (0.5, 0.5), weights=(1.0, 1.0)).goes_on(rewards).tolist() == [True, False, False]


def world(early, size, tries, rates, given):
    """Fill a rollout from `given`, the rewards of all completions of the prompts in the order of their drawing."""
    asked, drawn = [], iter(range(len(given)))

    def complete(prompts, count):
        asked.append((len(prompts), count))
        first = 0 if count == early else early
        entries = [(row["n"], i) for row in prompts for i in range(first, first + count)]
        rewards = torch.tensor([given[n][i] for n, i in entries]).view(-1, 1)
        return ScoredCompletions([{"at": at} for at in entries], rewards, [n + 1 for n, _ in entries])

    def draw(count):
        return [{"n": next(drawn)} for _ in range(count)]

    filling = Filling(choice(early, rates, tries), size, complete)
    filled = filling.fill(draw(4), draw)
    return filled, [entry["at"] for entry in bring(filled.sources, filling.generations, Accelerator(cpu=True))], asked


def test_costs_add_up():
    # of two early completions: 0 hopeless, 1 and 3 half right, 2 solved; fresh: 4 solved, 5 half right
    given = [[0, 0, 1, 1, 1], [1, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    filled, entries, asked = world(2, 5, 1, (0.05, 0.8), [[float(r) for r in row] for row in given])
    assert asked == [(4, 2), (2, 3), (2, 2), (1, 3)]
    assert filled.masked.tolist() == [False, False, True, False]
    # the fresh prompt takes the first place, and the early completions of prompt 2 hold the place that is masked
    assert [n for n, _ in entries] == [5] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    assert entries[:5] == [(5, i) for i in range(5)] and entries[10:15] == [(2, i % 2) for i in range(5)]
    assert filled.rewards.flatten().tolist() == [given[n][i] for n, i in entries]
    # a completion of prompt n has n + 1 tokens
    cost = filled.early_exit
    assert (cost.prompts, cost.left, cost.left_tokens) == (6, 3, 2 * (1 + 3 + 5))
    assert cost.saved_tokens == 3 * (1 + 3 + 5)
    sampling = filled.sampling
    assert (sampling.tries, sampling.fresh_prompts, sampling.masked_prompts) == (1, 2, 1)
    assert sampling.extra_tokens == 2 * 5 + 2 * 6 + 3 * 6
    assert sampling.first_reward == pytest.approx(4 / 8)  # of the early completions of the first prompts


def by_hand(early, size, tries, rates, given):
    """The same in loops: the prompts of the places, which of them are masked, and the sampled completions."""
    sampled, drawn, places = 0, 0, [None] * 4
    stand_ins = [None] * 4
    for attempt in range(tries + 1):
        good = []
        for place in [i for i in range(4) if places[i] is None]:
            prompt, drawn = drawn, drawn + 1
            if attempt == 0:
                stand_ins[place] = prompt
            sampled += early
            rate = sum(reward > 0 for reward in given[prompt][:early]) / early
            if rates[0] <= rate <= rates[1]:
                sampled += size - early
                if tries == 0 or len(set(given[prompt])) > 1:
                    if attempt == 0:
                        places[place] = prompt
                    else:
                        good.append(prompt)
        for place, prompt in zip([i for i in range(4) if places[i] is None], good, strict=False):
            places[place] = prompt
    masked = [place is None for place in places]
    return [s if p is None else p for s, p in zip(stand_ins, places, strict=True)], masked, sampled


@pytest.mark.parametrize("seed", range(20))
def test_as_in_loops(seed):
    rng = random.Random(seed)
    size, tries = rng.randint(2, 6), rng.randint(0, 3)
    early = rng.randint(1, size - 1)
    rates = tuple(sorted((rng.random(), rng.random())))
    given = [[float(rng.random() < chance) for _ in range(size)] for chance in [rng.random() for _ in range(20)]]
    filled, entries, asked = world(early, size, tries, rates, given)
    prompts, masked, sampled = by_hand(early, size, tries, rates, given)
    assert [n for n, _ in entries[::size]] == prompts and filled.masked.tolist() == masked
    assert sum(prompts * count for prompts, count in asked) == sampled


# --- in the trainer ---------------------------------------------------------------------------------------------------


class Asked(ESGRPOTrainer):
    """Keeps what the loss saw, and the number of completions of each generation."""

    def _compute_loss(self, model, inputs):
        self.seen = [*getattr(self, "seen", []), {k: v.clone() for k, v in inputs.items()}]
        return super()._compute_loss(model, inputs)

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        self.asked = [*getattr(self, "asked", []), len(prompt_ids)]
        return super()._generate_single_turn(prompt_ids, *args, **kwargs)


def by_kind(completions, kind, **kwargs):
    """Of a `half` prompt every second completion is right, in each call."""
    return [{"solved": 1.0, "hopeless": 0.0, "half": float(i % 2)}[k] for i, k in enumerate(kind)]


def train(tmp_path, kinds, **changes):
    dataset = Dataset.from_dict({"prompt": [f"{n}=" for n in range(len(kinds))], "kind": kinds})
    args = ESGRPOConfig(str(tmp_path / "run"), **{**LAB_ARGS, "shuffle_dataset": False, **changes})
    trainer = Asked(BASE_MODEL, by_kind, args, train_dataset=dataset)
    trainer.train()
    return trainer


def test_a_run_trains_on_prompts_in_the_range(tmp_path):
    kinds = ["half", "solved", "hopeless", "half"] * 8
    trainer = train(tmp_path, kinds, early_generations=2, dynamic_sampling_tries=4, max_steps=4)
    record = trainer.history.records[0]
    # rows 0 to 3 hold two half ones; rows 4 and 5 one, row 6 none, row 7 the other
    assert trainer.asked == [4 * 2, 2 * 2, 2 * 2, 1 * 2, 1 * 2, 1 * 2, 1 * 2]
    assert {name: record["early_exit"][name] for name in ("prompts", "left")} == {"prompts": 8, "left": 4}
    assert record["early_exit"]["saved_tokens"] == record["early_exit"]["left_tokens"] > 0
    assert (record["sampling"]["tries"], record["sampling"]["masked_prompts"]) == (3, 0)
    assert record["reward"] == 0.5 and record["uniform_rewards"] == 0.0
    for inputs in trainer.seen:
        assert inputs["advantages"].abs().min() > 0.5 and inputs["completion_mask"].any(dim=1).all()


def test_places_that_stay_empty_are_masked(tmp_path):
    # of three completions in turn one and two are right, so that every second prompt is left though it is mixed
    trainer = train(tmp_path, ["half"] * 32, early_generations=3, early_pass_rates=[0.6, 0.8], max_steps=4)
    record = trainer.history.records[0]
    assert trainer.asked == [4 * 3, 2]
    assert (record["early_exit"]["left"], record["sampling"]["masked_prompts"]) == (2, 2)
    masks = torch.cat([inputs["completion_mask"].any(dim=1) for inputs in trainer.seen])
    advantages = torch.cat([inputs["advantages"] for inputs in trainer.seen])
    assert masks.sum() == 8 and torch.equal(masks, advantages != 0.0)


def test_no_prompt_in_the_range_ends_with_a_sentence(tmp_path):
    message = "no prompt with a pass rate from 0.05 to 0.8 over 2 completions .* for 4 fresh prompts .*widen early_pass"
    with pytest.raises(ValueError, match=message):
        train(tmp_path, ["solved", "hopeless"] * 16, early_generations=2, dynamic_sampling_tries=1)


def test_an_evaluation_samples_all_completions(tmp_path):
    dataset = Dataset.from_dict({"prompt": ["1="] * 4, "kind": ["solved"] * 4})
    args = ESGRPOConfig(str(tmp_path), **LAB_ARGS, early_generations=2, eval_pass_at_k=[1])
    trainer = Asked(BASE_MODEL, by_kind, args, train_dataset=dataset, eval_dataset=dataset)
    assert trainer.evaluate()["eval_pass@1"] == 1.0
    assert sum(trainer.asked) == 4 * args.num_generations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"early_generations": 4},
            "`early_generations` must be less than the 4 completions per prompt, got 4",
        ),
        ({"early_generations": -1}, "`early_generations` must be a whole number >= 0, got -1"),
        (
            {"early_pass_rates": [0.8, 0.05]},
            r"two numbers from 0 to 1, the lower one first, got \[0.8, 0.05\]",
        ),
        ({"early_pass_rates": [0.1, 1.5]}, "`early_pass_rates` must be two numbers from 0 to 1"),
        (
            {"early_pass_rates": [0.1, 0.9]},
            r"`early_generations` must be at least 1 with early_pass_rates \[0.1, 0.9\], got 0",
        ),
        ({"early_pass_rates": 0.5}, "`early_pass_rates` must be two numbers from 0 to 1"),
        ({"early_generations": 2, "early_pass_rates": [0.6, 0.8]}, "must hold a pass rate that 2 completions can have"),
        ({"early_generations": 1}, "must hold a pass rate that 1 completions can have"),
    ],
)
def test_refused(changes, message, lab_args):
    with pytest.raises(ValueError, match=message):
        lab_args(**changes)


def test_a_stage_with_too_few_completions_is_refused(tmp_path):
    stages = [{"start": 0.5, "num_generations": 2}]
    args = ESGRPOConfig(str(tmp_path), **LAB_ARGS, curriculum=stages, early_generations=2)
    dataset = Dataset.from_dict({"prompt": ["1="] * 32, "kind": ["half"] * 32})
    message = "`early_generations` must be less than the 2 completions per prompt in stage 1, got 2"
    with pytest.raises(ValueError, match=message):
        ESGRPOTrainer(BASE_MODEL, by_kind, args, train_dataset=dataset)


def test_the_message_without_any_reward():
    filled, _, _ = world(2, 4, 0, (0.05, 0.8), [[NAN] * 4] * 4)
    assert filled.masked.all() and filled.early_exit.left == 4
    assert "no reward function gave a reward" in nothing_to_learn(0, choice(2, (0.05, 0.8)), filled.sampling)
