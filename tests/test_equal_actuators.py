"""Updates with all that ESGRPOTrainer adds have the gradients and the metrics that TRL's micro-batches give."""

import functools

import pytest
from compared_runs import Run, assert_equal_runs, gradient_errors
from equal_updates import TRL_PATH, VARIANTS, Case, trained

from es_trl import EntropyBonusActuator, KLCoefActuator
from es_trl.actuators.ce_gppo import CEGPPOActuator
from es_trl.actuators.clamped_bonus import ClampedBonusActuator
from es_trl.actuators.clip import ClipActuator, ClipHighActuator
from es_trl.actuators.covariance import ClipCovActuator, KLCovActuator
from es_trl.actuators.difficulty_bonus import DifficultyBonusActuator
from es_trl.actuators.flex_clip import FlexClipActuator
from es_trl.actuators.repo import RepoActuator
from es_trl.actuators.sample_filter import SampleFilterActuator
from es_trl.actuators.sample_weight import SampleWeightActuator


BONUS = EntropyBonusActuator(-1.0, 1.0)
CLAMPED = ClampedBonusActuator(high=1.0)
DIFFICULTY = DifficultyBonusActuator(high=1.0)
COV = ClipCovActuator(cov_low=0.01, high=0.5)
MASKS = {"mask_truncated_completions": True}
CENTRAL = {
    "bonus": Case(actuator=BONUS, control=0.5),
    "clamped bonus": Case({"loss_type": "grpo", **MASKS}, has_env_mask=True, actuator=CLAMPED, control=0.5),
    "difficulty bonus": Case({"num_iterations": 2}, actuator=DIFFICULTY, control=0.5),
    "filter of negatives": Case(actuator=SampleFilterActuator(), control=1.0),
}
OTHERS = {
    "negative bonus": Case({"loss_type": "grpo"}, actuator=BONUS, control=-0.5),
    "bonus with bnpo": Case({"loss_type": "bnpo", **MASKS}, has_env_mask=True, actuator=BONUS, control=0.5),
    "bonus with vespo": Case({"loss_type": "vespo", "beta": 0.1}, actuator=BONUS, control=0.5),
    "bonus with sequences": Case(
        {"importance_sampling_level": "sequence", "epsilon": 0.02}, actuator=BONUS, control=0.5
    ),
    "bonus with one update": Case(
        {"gradient_accumulation_steps": 8, "max_steps": 2}, has_env_mask=True, actuator=BONUS, control=0.5
    ),
    "bonus with experts": Case(model="mixtral", actuator=BONUS, control=0.5),
    "bonus with quantile": Case({"top_entropy_quantile": 0.6}, actuator=BONUS, control=0.5),
    "clamped bonus with dapo": Case(actuator=CLAMPED, control=0.5),
    "clamped bonus with bnpo": Case({"loss_type": "bnpo"}, actuator=CLAMPED, control=0.5),
    "clamped bonus with peft": Case({"beta": 0.1}, adapts=True, actuator=CLAMPED, control=0.5),
    "clamped bonus with one update": Case(
        {"gradient_accumulation_steps": 8, "max_steps": 2}, actuator=CLAMPED, control=0.5
    ),
    "difficulty bonus with masks": Case(MASKS, has_env_mask=True, actuator=DIFFICULTY, control=0.5),
    "kl": Case({"beta": 0.01}, actuator=KLCoefActuator(), control=0.1),
    "clip_high": Case(actuator=ClipHighActuator(), control=0.1),
    "clip_high with cispo": Case(
        {"loss_type": "cispo", "epsilon_high": 1.3}, actuator=ClipHighActuator(1.1, 1.4), control=1.1
    ),
    "clip": Case({"loss_type": "bnpo"}, actuator=ClipActuator(-0.5, 0.5), control=-0.4),
    "two-sided clip": Case({"delta": 1.5}, actuator=ClipHighActuator(0.1, 0.4), control=0.15),
    "filter of positives": Case({"loss_type": "grpo"}, actuator=SampleFilterActuator(), control=-1.0),
    "filter of rewards": Case(has_env_mask=True, actuator=SampleFilterActuator(variant="code"), control=1.0),
    "weights": Case(actuator=SampleWeightActuator(), control=0.5),
    "weights of sequences": Case({"loss_type": "luspo", **MASKS}, actuator=SampleWeightActuator(), control=-0.5),
    "repo": Case(actuator=RepoActuator(), control=0.05),
    "flex_clip": Case({"num_iterations": 2, "epsilon": 0.02}, actuator=FlexClipActuator(), control=-1.0),
    "ce_gppo": Case({"num_iterations": 2, "epsilon": 0.02}, actuator=CEGPPOActuator(), control=0.5),
    "clip_cov": Case(actuator=COV, control=0.1),
    "clip_cov with masks": Case({"loss_type": "grpo", **MASKS}, has_env_mask=True, actuator=COV, control=0.1),
    "kl_cov": Case(actuator=KLCovActuator(ratio=0.1), control=0.5),
    "kl_cov with masks": Case(
        {"loss_type": "grpo", **MASKS}, has_env_mask=True, actuator=KLCovActuator(0.1), control=1.0
    ),
    "sampled again": Case({"loss_type": "grpo"}, signs_by_prompt=True, own={"dynamic_sampling_tries": 1}),
    "sampled again with masks": Case(
        MASKS, has_env_mask=True, signs_by_prompt=True, own={"dynamic_sampling_tries": 1}, actuator=BONUS, control=0.5
    ),
    "punished for length": Case(own={"overlong_cache": 8}),
    "larger rollouts": Case(own={"curriculum": [{"start": 0.5, "num_generations": 8}]}, actuator=BONUS, control=0.5),
    "larger rollouts, grpo": Case(
        {"loss_type": "grpo", "beta": 0.1}, own={"curriculum": [{"start": 0.5, "num_generations": 8}]}
    ),
}
CASES = {**CENTRAL, **OTHERS}


@functools.cache
def by_completions(name: str) -> Run:
    return trained(CASES[name], **TRL_PATH)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_as_trls_micro_batches(name):
    assert_equal_runs(by_completions(name), trained(CASES[name]))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("name", CENTRAL)
def test_every_way_is_as_trls_micro_batches(name, variant):
    assert_equal_runs(by_completions(name), trained(CASES[name], **variant))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.actuator is not None])
def test_the_actuator_acts(name):
    """The cases are worth something: without the actuator the gradients are others."""
    case = CASES[name]
    plain = trained(Case(**{**vars(case), "actuator": None, "control": 0.0}), **TRL_PATH)
    assert max(gradient_errors(plain, by_completions(name))) > 1e-3
