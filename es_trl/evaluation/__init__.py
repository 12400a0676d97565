"""
Evaluations: pass@k and pass^k of a model on problems that rewards judge. Names load on first use.

- `settings.py`: what an evaluation does, the defaults of a run's recipe, and what two starts must have in common.
- `problems.py`: the problems, and their prompts as token ids.
- `units.py`: the parts into which the sampling is cut, each with a seed.
- `models.py`: the model's files, its weights and its tokenizer.
- `sampling.py`: completions by transformers.
- `vllm_sampling.py`: completions by vLLM.
- `judging.py`: rewards of completions.
- `samples.py`: `samples.jsonl`, to which whole units are appended.
- `progress.py`: how far the sampling is, and the time left.
- `evaluating.py`: an evaluation from settings to files.
- `estimating.py`: the estimates, for `passk.json`.
- `counting.py`: right completions of a model in memory.
- `comparison.py`: differences between two evaluations.
- `figures.py`: pass@k over k.
"""

from ..common.lazy import lazy


_MODULES = {
    "EvaluationSettings": "settings",
    "evaluate": "evaluating",
    "Evaluation": "evaluating",
    "read_evaluation": "evaluating",
    "count_correct": "counting",
    "summarize": "counting",
    "compare": "comparison",
}
__all__ = list(_MODULES)

__getattr__, __dir__ = lazy(__name__, _MODULES)
