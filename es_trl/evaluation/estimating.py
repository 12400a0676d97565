"""The estimates of an evaluation, from its right completions."""

from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ..estimates.intervals import intervals_of
from ..estimates.pass_at_k import pass_hat_k, table_of
from ..estimates.result import Evaluation
from .samples import Tally
from .settings import EvaluationSettings


_PACKAGES = ("torch", "transformers", "trl", "vllm", "math-verify")


def estimated(settings: EvaluationSettings, tally: Tally, seconds: float, digest: str) -> Evaluation:
    """Return the result of an evaluation that has all of its samples."""
    ks, correct, n = settings.grid, tally.correct, settings.n
    passed = table_of(correct, n, ks)
    solid = np.array([[pass_hat_k(n, each, k) for k in ks] for each in correct])
    (mean,) = intervals_of(np.array(correct)[:, None] / n)
    names = ("temperature", "top_p", "max_new_tokens", "seed")
    return Evaluation(
        model=settings.model,
        data=settings.data_name,
        rewards=settings.reward.names,
        problems=len(correct),
        n=n,
        settings={name: getattr(settings, name) for name in names},
        correct=correct,
        truncated=tally.truncated,
        tokens=tally.tokens,
        avg_at_n=mean,
        pass_at_k=dict(zip(ks, intervals_of(passed), strict=True)),
        pass_hat_k=dict(zip(ks, intervals_of(solid), strict=True)),
        versions=_versions(),
        seconds=seconds,
        digest=digest,
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
