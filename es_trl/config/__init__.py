"""The configuration: its fields, the parts that its blocks describe, and the checks of both.

- `config.py`: `ESGRPOConfig`, which reads, checks and builds its fields in this order.
- `registry.py`: the kinds of schedule, controller and actuator that a block may name.
- `parser.py`: functions that build a part from a block (a mapping, a kind or an object).
- `methods.py`: the published methods by name.
- `micro_batches.py`: the contradictions in the fields about micro-batches, and what keeps TRL's.
- `goal.py`: the rule of thumb that chooses a schedule for pass@k.
- `presets.py`: the merge of a method with the user's own values, and the list of their differences.
- `field_checks.py`: range and choice checks for TRL's fields.
- `truncated_sampling.py`: the effect of `top_p`, `top_k` and `min_p`, where it is refused and its warning.
- `sizes.py`: checks for counts and for the sizes of a rollout.
- `values.py`: conversion of values from YAML or a command line to the type of their field.
- `collectives.py`: a workaround for DeepSpeed on a CPU.

To add a kind, add one row to `registry.py`. To add a method, add one entry to `METHODS`. To add a field, add it to
`ESGRPOConfig` and to its docstring. If the field has a range, add its name to `field_checks.py`, too.
"""
