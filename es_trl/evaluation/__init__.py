"""Evaluation of a model on problems with verifiable answers: pass@k and its intervals.

- `pass_at_k`: the unbiased estimates of one problem, from its number of right completions
- `intervals`: means over problems, with bootstrap intervals
"""
