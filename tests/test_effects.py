"""What each actuator does to tiny tensors, with numbers that can be followed by hand from its formula."""

import pytest
import torch
from tensors import batch_of, scores_of

from es_trl.actuators.actuation import Actuation
from es_trl.actuators.batch import Scores
from es_trl.actuators.clamped_bonus import ClampedBonusActuator
from es_trl.actuators.covariance import ClipCovActuator, KLCovActuator
from es_trl.actuators.difficulty_bonus import DifficultyBonusActuator, difficulty_weights, success_rates
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.repo import RepoActuator
from es_trl.actuators.sample_filter import SampleFilterActuator
from es_trl.actuators.sample_weight import SampleWeightActuator
from es_trl.control.base import Kept


# --- all of them together ---------------------------------------------------------------------------------------------


def test_an_actuation_of_nothing_changes_nothing():
    batch = batch_of([2.0, -1.0])
    nothing = Actuation()
    assert (nothing.clamp, nothing.columns(None, None), nothing.kept(batch), nothing.bonus(batch)) == (0, {}, None, 0)
    assert nothing.advantages(batch) is batch.inputs["advantages"]


def test_an_actuation_is_each_actuator_in_turn():
    settings = {"sample_weight": 0.5, "sample_filter": 0.0, "entropy_bonus": 0.1, "clamped_bonus": 0.01}
    actuators = (SampleWeightActuator(), SampleFilterActuator(), EntropyBonusActuator(), ClampedBonusActuator())
    batch = batch_of([2.0, -1.0], entropies=[[0.2, 0.4], [0.6, 0.8]], clamped=[[0.1, 0.2], [0.3, 0.4]])
    actuation = Actuation((*actuators, SampleWeightActuator()), settings)
    # the weights twice: 2 * 0.5 * 0.5 and -1 * 1.5 * 1.5
    assert actuation.advantages(batch).tolist() == [0.5, -2.25] and batch.inputs["advantages"].tolist() == [2.0, -1.0]
    assert actuation.bonus(batch).item() == pytest.approx(0.1 * 0.5 + 0.01 * 0.25)
    assert (actuation.clamp, actuation.kept(batch)) == (0.33, Kept(1.0))
    columns = Actuation((SampleFilterActuator(), DifficultyBonusActuator())).columns(
        scores_of([0.0] * 4, [1.0] * 4), None
    )
    assert list(columns) == ["filtered", "kept", "difficulty"]


def test_the_entropy_bonus_by_hand():
    batch = batch_of([1.0, -1.0], mask=[[1.0, 1.0], [1.0, 0.0]], entropies=[[0.2, 0.4], [0.6, 9.0]])
    batch.entropies.requires_grad_()
    bonus = EntropyBonusActuator().bonus(batch, {"entropy_bonus": -0.01})
    assert bonus.item() == pytest.approx(-0.01 * 0.4)
    bonus.backward()
    assert batch.entropies.grad.flatten().tolist() == pytest.approx([-0.01 / 3] * 3 + [0.0])
    assert EntropyBonusActuator().bonus(batch, {"entropy_bonus": 0.0}) == 0.0


# --- AER --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1.0, 0.0])
def test_success_rates_of_every_scale(wrong):
    rewards = torch.tensor([wrong, wrong, wrong, wrong, 1.0, wrong, wrong, wrong, 1.0, 1.0, 1.0, wrong])
    assert success_rates(rewards, 4).tolist() == [0.0, 0.25, 0.75]


def test_what_has_no_reward_does_not_count():
    rewards = torch.tensor([1.0, -1.0, torch.nan, torch.nan, torch.nan, torch.nan, torch.nan, torch.nan])
    assert success_rates(rewards, 4).tolist() == [0.5, 1.0]


def test_difficulty_by_hand():
    rates = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    assert difficulty_weights(rates, 0.5, "linear").tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert difficulty_weights(rates, 0.5, "hard").tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert difficulty_weights(rates, 1.0, "linear").tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_the_difficulty_bonus_by_hand():
    actuator = DifficultyBonusActuator(rho=0.5)
    columns = actuator.columns(scores_of([0.0] * 8, [-1.0] * 4 + [1.0] + [-1.0] * 3), None)
    assert columns["difficulty"].tolist() == [1.0] * 4 + [0.5] * 4
    # token means 0.3 and 0.6; weights 1 and 0.5; (0.3 + 0.3) / 2 completions; coefficient 0.01
    batch = batch_of(
        [1.0, -1.0],
        mask=[[1.0, 1.0], [1.0, 0.0]],
        entropies=[[0.2, 0.4], [0.6, 9.0]],
        difficulty=columns["difficulty"][[0, 4]],
    )
    assert actuator.bonus(batch, {"difficulty_bonus": 0.01}).item() == pytest.approx(0.003)
    assert actuator.bonus(batch, {"difficulty_bonus": 0.0}) == 0.0


def test_the_difficulty_bonus_has_the_gradient_of_the_entropy():
    batch = batch_of([1.0, -1.0], entropies=[[0.2, 0.4], [0.6, 0.8]], difficulty=torch.tensor([1.0, 0.5]))
    batch.entropies.requires_grad_()
    DifficultyBonusActuator().bonus(batch, {"difficulty_bonus": 0.02}).backward()
    # 0.02 * weight / (2 tokens * 2 completions)
    assert batch.entropies.grad.flatten().tolist() == pytest.approx([0.005, 0.005, 0.0025, 0.0025])


# --- AEnt -------------------------------------------------------------------------------------------------------------


def test_the_clamped_bonus_by_hand():
    batch = batch_of(
        [1.0, -1.0],
        mask=[[1.0, 1.0], [1.0, 0.0]],
        entropies=[[0.4, 0.4], [0.4, 9.0]],
        clamped=[[0.1, 0.2], [0.3, 9.0]],
    )
    actuator = ClampedBonusActuator()
    assert actuator.bonus(batch, {"clamped_bonus": 0.002}).item() == pytest.approx(0.002 * 0.2)
    plain = batch_of([1.0, -1.0], mask=[[1.0, 1.0], [1.0, 0.0]], entropies=[[0.4, 0.4], [0.4, 9.0]])
    assert ClampedBonusActuator(clamp=0.0).bonus(plain, {"clamped_bonus": 0.002}).item() == pytest.approx(0.002 * 0.4)


# --- Entrocraft -------------------------------------------------------------------------------------------------------

ADVANTAGES, REWARDS = [1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0], [1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("variant", "control", "token_mean", "expected", "kept"),
    [
        # m = -1: 7 of 8 completions are kept, and the mean is over them: times 8/7
        ("paper", 1.0, False, [0.0, -4 / 7, -4 / 7, -4 / 7, 0.0, 0.0, 0.0, 0.0], 7 / 8),
        # m = +1: 5 of 8
        ("paper", -1.0, False, [2.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5 / 8),
        # the same in tokens: 22 of 24 are kept, and 12
        ("paper", 1.0, True, [0.0, -6 / 11, -6 / 11, -6 / 11, 0.0, 0.0, 0.0, 0.0], 7 / 8),
        ("paper", -1.0, True, [1.5 * 24 / 12, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5 / 8),
        # raw rewards, the others 0 and still in the mean; prompts that are all right count
        ("code", 1.0, True, [0.0, -1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0], 3 / 8),
        ("code", -1.0, True, [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], 5 / 8),
        ("paper", 0.0, True, ADVANTAGES, 1.0),
        ("code", 0.0, False, ADVANTAGES, 1.0),
    ],
)
def test_the_filter_by_hand(variant, control, token_mean, expected, kept):
    actuator = SampleFilterActuator(variant=variant)
    tokens = [2.0, 4.0, 4.0, 4.0, 2.0, 2.0, 3.0, 3.0]
    columns = actuator.columns(scores_of(ADVANTAGES, REWARDS, tokens=tokens, token_mean=token_mean), None)
    batch = batch_of(ADVANTAGES, **columns)
    assert actuator.advantages(batch, {"sample_filter": control}).tolist() == pytest.approx(expected)
    assert actuator.kept(batch, {"sample_filter": control}) == Kept(pytest.approx(kept))


def test_too_few_kept_keep_all_and_say_so():
    actuator = SampleFilterActuator(min_kept=0.5)
    advantages = [3.0, -1.0, -1.0, -1.0]
    columns = actuator.columns(scores_of(advantages, [1.0, -1.0, -1.0, -1.0]), None)
    batch = batch_of(advantages, **columns)
    # one of the four that have an advantage would be kept
    assert actuator.advantages(batch, {"sample_filter": -1.0}).tolist() == advantages
    kept = actuator.kept(batch, {"sample_filter": -1.0})
    assert kept.share == 1.0 and "the completions with positive advantages are too few (at most 50%" in kept.message
    assert actuator.advantages(batch, {"sample_filter": 1.0}).tolist() == pytest.approx([0.0, -4 / 3, -4 / 3, -4 / 3])


@pytest.mark.parametrize(
    ("rewards", "side"),
    [
        ([1.0, 0.0, 0.0, 1.0], "got 0 to 1 in rollout 3, because it trains only on negative rewards while .* below"),
        ([1.1, 0.1, 0.1, 1.1], "got 0.1 to 1.1 in rollout 3, because it trains only on negative rewards .* below"),
        ([0.0, -1.0] * 2, "got -1 to 0 in rollout 3, because it trains only on positive rewards while .* above"),
    ],
)
def test_rewards_without_a_sign_are_refused_in_the_code_variant(rewards, side):
    with pytest.raises(ValueError, match=f"the rewards must have both signs .*{side}.*variant: paper"):
        SampleFilterActuator(variant="code").columns(scores_of([0.5, -0.5] * 2, rewards), None)
    SampleFilterActuator(variant="paper").columns(scores_of([0.5, -0.5] * 2, rewards), None)


def test_a_sign_that_a_later_rollout_lacks_by_chance_is_no_reason_to_end_the_run():
    scores = scores_of([0.5, -0.5] * 2, [1.0, 0.0] * 2)
    SampleFilterActuator(variant="code").columns(Scores(**{**vars(scores), "rollout": 5}), None)


def test_a_rollout_without_any_advantage_is_no_guard():
    columns = SampleFilterActuator().columns(scores_of([0.0] * 4, [1.0] * 4), None)
    batch = batch_of([0.0] * 4, **columns)
    assert SampleFilterActuator().advantages(batch, {"sample_filter": 1.0}).tolist() == [0.0] * 4
    assert SampleFilterActuator().kept(batch, {"sample_filter": 1.0}) == Kept(1.0)


@pytest.mark.parametrize("rewards", [[1.0, -1.0, 0.0, 1.0], [1.0] * 4, [-1.0] * 4, [float("nan"), 1.0, -1.0, 0.0]])
def test_rewards_of_both_signs_or_not_yet_known_are_not(rewards):
    SampleFilterActuator(variant="code").columns(scores_of([0.5, -0.5] * 2, rewards), None)


# --- EntroPIC ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "expected"),
    [(0.0, [2.0, -1.0, 0.0]), (0.4, [1.2, -1.4, 0.0]), (-0.4, [2.8, -0.6, 0.0]), (1.0, [0.0, -2.0, 0.0])],
)
def test_the_weights_by_hand(control, expected):
    actual = SampleWeightActuator().advantages(batch_of([2.0, -1.0, 0.0]), {"sample_weight": control})
    assert actual.tolist() == pytest.approx(expected)


def test_the_weights_are_the_term_of_the_authors_code():
    # alpha * mean(-ratio * |A|) beside mean(-ratio * A), alpha being minus the control
    advantages, ratios, alpha = torch.tensor([2.0, -1.0]), torch.tensor([1.1, 0.9]), 0.3
    weighted = SampleWeightActuator().advantages(batch_of([2.0, -1.0]), {"sample_weight": -alpha})
    published = (-ratios * advantages).mean() + alpha * (-ratios * advantages.abs()).mean()
    assert (-ratios * weighted).mean().item() == pytest.approx(published.item())


# --- REPO-R -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zeta", "expected"),
    [
        # A (1 - zeta log p) for A > 0 and A (1 + zeta log p) for A < 0, with log p of -3 and -1
        (0.05, [[2.3, 2.1], [-0.85, -0.95], [0.0, 0.0]]),
        (-0.05, [[1.7, 1.9], [-1.15, -1.05], [0.0, 0.0]]),
        # 1 + 0.5 * -3 is below 0, where the advantage would change its sign
        (0.5, [[5.0, 3.0], [0.0, -0.5], [0.0, 0.0]]),
    ],
)
def test_advantages_grow_with_surprise_by_hand(zeta, expected):
    batch = batch_of([2.0, -1.0, 0.0], logps=[[-3.0, -1.0]] * 3)
    batch.logps.requires_grad_()
    found = RepoActuator(-1.0, 1.0).advantages(batch, {"repo_zeta": zeta})
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.tensor(expected))


def test_advantages_of_tokens_grow_with_surprise_too():
    batch = batch_of([[2.0, -1.0]], logps=[[-3.0, -1.0]])
    torch.testing.assert_close(RepoActuator().advantages(batch, {"repo_zeta": 0.05}), torch.tensor([[2.3, -0.95]]))
    assert RepoActuator().advantages(batch, {"repo_zeta": 0.0}) is batch.inputs["advantages"]


@pytest.mark.parametrize("zeta", [0.2, -0.2])
def test_a_step_of_surprise_raises_entropy_by_its_sign(zeta):
    # from the same policy and tokens, zeta > 0 leaves more entropy than the plain step, and zeta < 0 less
    def entropy_after(zeta):
        logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]], requires_grad=True)
        probabilities = logits.detach().softmax(-1)[0]
        for sign in (1.0, -1.0):  # every token in proportion to its probability, half of them right
            batch = batch_of([sign] * 4, logps=[[value] for value in probabilities.log()])
            advantages = RepoActuator(-1.0, 1.0).advantages(batch, {"repo_zeta": zeta}).flatten()
            (-(probabilities * advantages * logits.log_softmax(-1)[0]).sum()).backward()
        logps = (logits - 0.1 * logits.grad).log_softmax(-1)
        return -(logps.exp() * logps).sum().item()

    assert (entropy_after(zeta) - entropy_after(0.0)) * zeta > 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: DifficultyBonusActuator(rho=0.0),
            "`rho` must be a finite number > 0 and <= 1, got 0.0: set a success rate",
        ),
        (lambda: DifficultyBonusActuator(difficulty="soft"), "`difficulty` must be `linear` or `hard`, got 'soft'"),
        (
            lambda: ClampedBonusActuator(clamp=1.0),
            "`clamp` must be a finite number >= 0 and < 1, got 1.0: set a share of the vocabulary",
        ),
        (lambda: SampleFilterActuator(variant="repo"), "`variant` must be `paper` or `code`, got 'repo'"),
        (
            lambda: SampleFilterActuator(min_kept=2.0),
            "`min_kept` must be a finite number >= 0 and <= 1, got 2.0: set a share",
        ),
        (lambda: SampleFilterActuator(low=-0.5), "the filter reads only a sign: set -1 and 1"),
        (lambda: SampleWeightActuator(high=1.5), "right completions would be unlearned"),
        (
            lambda: ClipCovActuator(cov_low=5.0),
            "`cov_low` must be < `cov_high`, got 5.0 and 5.0: set for example 1 and 5",
        ),
        (lambda: ClipCovActuator(high=2.0), "`high` must be a finite number <= 1, got 2.0: set a share of the tokens"),
        (
            lambda: KLCovActuator(ratio=0.0),
            "`ratio` must be a finite number > 0 and <= 1, got 0.0: set a share of the tokens",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
