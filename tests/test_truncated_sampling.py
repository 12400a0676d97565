"""Completions from a part of the policy: what is refused beside vLLM, what is a warning, and why."""

import math

import pytest
import torch
from lab_runs import BONUS

from es_trl.__main__ import main as cli
from es_trl.config.truncated_sampling import truncation_warning, truncations


VLLM = {"use_vllm": True, "vllm_importance_sampling_mode": "token_truncate"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ""),
        ({"top_p": 0.9}, "top_p 0.9"),
        ({"top_k": 20, "min_p": 0.1}, "top_k 20 and min_p 0.1"),
        ({"top_k": -1, "min_p": 0.0}, ""),
        ({"generation_kwargs": {"top_p": 0.8}}, "top_p 0.8"),
        ({"top_p": 0.9, "generation_kwargs": {"top_p": 1.0}}, ""),
    ],
)
def test_what_truncates(changes, found, lab_args):
    args = lab_args(**changes)
    assert truncations(args) == found and (truncation_warning(args) is None) is (found == "")


@pytest.mark.parametrize("mode", ["sequence_mask", "sequence_truncate"])
@pytest.mark.parametrize("field", [{"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"generation_kwargs": {"top_k": 5}}])
def test_products_of_ratios_are_refused(field, mode, lab_args):
    with pytest.raises(
        ValueError, match=f"must be token_truncate with .*, got {mode}, because .* set token_truncate, or"
    ):
        lab_args(**field, use_vllm=True, vllm_importance_sampling_mode=mode)
    lab_args(**field, use_vllm=True, vllm_importance_sampling_mode=mode, vllm_importance_sampling_correction=False)
    lab_args(**field, vllm_importance_sampling_mode=mode)


def test_one_ratio_per_token_is_a_warning(lab_args):
    assert "the weight of each token" in truncation_warning(lab_args(top_p=0.9, **VLLM))
    assert "the weight" not in truncation_warning(lab_args(top_p=0.9))
    assert "the weight" not in truncation_warning(
        lab_args(top_p=0.9, **VLLM, vllm_importance_sampling_correction=False)
    )


def test_the_ratio_is_the_probability_of_the_part():
    """The reason, on a policy of four tokens of which top_p 0.8 keeps two: a product over 50 tokens is 0."""
    logps = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    part = logps[:2].log_softmax(0)  # vLLM's log-probabilities after its processors
    ratios = (logps[:2] - part).exp()
    assert ratios.tolist() == pytest.approx([0.8, 0.8]) and math.prod([0.8] * 50) < 2e-5
    whole, of_part = (-(p.exp() * p).sum().item() for p in (logps, part))
    assert whole > of_part + 0.4  # the measured entropy, and that of the tokens that are sampled


def test_plan_says_it(capsys):
    assert cli(["plan", "recipes/countdown_es.yaml", "--top_p", "0.9"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "warning: top_p 0.9 samples from a part of the policy, but entropy and the loss are those of all" in told


def test_a_run_says_it(lab_trainer, capsys):
    lab_trainer(top_k=2, max_steps=4, **BONUS).train()
    assert "top_k 2 samples from a part of the policy" in " ".join(capsys.readouterr().out.split())
