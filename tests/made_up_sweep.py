"""A sweep that was never made, with evaluations of chosen counts."""

import json

from es_trl.sweep.record import Settings, fix


def settings_of(grid, seeds=1, n=4, k=(1, 4), **changes):
    values = {"recipe": "seed: 0\n", "options": [], "data": "problems.jsonl", "split": None, **changes}
    return Settings(grid=grid, seeds=seeds, n=n, k=list(k), **values)


def write_evaluation(run, correct, n=4, digest="the same problems", data="problems.jsonl"):
    """Write the passk.json of a run, with the right completions of each problem."""
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    content = {
        **{"model": str(run.folder), "data": data, "rewards": ["math"], "problems": len(correct), "n": n},
        **{"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "seed": 0},
        **{"correct": list(correct), "truncated": 0.0, "tokens": 4.0, "avg@n": interval},
        **{"pass@k": {"1": interval}, "pass^k": {"1": interval}},
        **{"interval": {"level": 0.95, "resamples": 10_000, "over": "problems"}, "versions": {}, "seconds": 1.0},
    }
    folder = run.folder / "eval-sweep"
    folder.mkdir(parents=True)
    (folder / "passk.json").write_text(json.dumps(content))
    (folder / "eval.json").write_text(json.dumps({"problems": digest}))


def write_sweep(folder, counts, grid, seeds=1, n=4, k=(1, 4)):
    """Write a sweep and the evaluations of its runs, in their order; `None` leaves one out."""
    settings = settings_of(grid, seeds, n, k)
    fix(settings, folder)
    for run, correct in zip(settings.runs(folder), counts, strict=True):
        if correct is not None:
            write_evaluation(run, correct, n)
    return settings
