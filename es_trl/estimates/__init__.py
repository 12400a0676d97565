"""Estimates from the numbers of right completions: pass@k, and means over problems with intervals. No torch.

- `pass_at_k`: the unbiased estimates of one problem
- `intervals`: means over problems, with bootstrap intervals
- `result`: `passk.json`, the estimates of one evaluation
"""
