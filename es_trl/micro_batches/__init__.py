"""Micro-batches: how the completions of an update are cut, laid out and exchanged between processes.

The trainer calls these files in this order. They know tensors and numbers, but neither TRL nor the configuration.

- `rows.py`: the rows of TRL's batch: their lengths, their order and their padding.
- `cutting.py`: where an update is cut, so that its micro-batches take the least time.
- `plan.py`: the plan of a rollout: which process computes which completions together.
- `exchange.py`: the exchange of completions between the processes that hold and that compute them.
- `layout.py`: the layout of a micro-batch in the forward pass. Add a layout to `BY_NAME`, and its cost to `cutting.py`.
- `segments.py`: attention over a row of segments, so that rows need no padding.
- `prefill.py`: the beginning of a generation, which computes each prompt once.

`docs/guides/speed.md` says what a user sees of it.
"""
