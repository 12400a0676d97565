"""Micro-batches: how the completions of an update are cut, laid out and exchanged between processes.

None of them imports TRL or the configuration.

- `rows.py`: the rows of TRL's batch: their lengths, their order and their padding.
- `cutting.py`: where an update is cut, so that its micro-batches take the least time.
- `plan.py`: the plan of a rollout: which process computes which completions together.
- `exchange.py`: the exchange of completions between the processes that hold and that compute them.
- `layout.py`: the layout of a micro-batch in the forward pass.
- `layouts.py`: the layouts by name.
- `segments.py`: attention over a row of segments, so that rows need no padding.
- `prefill.py`: the beginning of a generation, which computes each prompt once.

A new layout is a function in `layouts.py`, a name at the end of `LAYOUTS` in `cutting.py` with its tokens there, and a
choice in `trainer/micro_batches.py`. Checkpoints hold the number of a name, so names keep their places.

`docs/guides/speed.md` says what a user sees of it.
"""
