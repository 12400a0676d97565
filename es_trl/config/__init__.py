"""What a user may set, and what becomes of it.

- `config.py`: `ESGRPOConfig`: the fields, and the order in which they are read, checked and built.
- `registry.py`: the kinds of schedule, controller and actuator that a block may name.
- `parser.py`: a block (a mapping, a kind or an object) becomes the object that it describes, or is refused.
- `methods.py`: the published methods by name.
- `presets.py`: a method beneath the user's own values, and where these depart from it.
- `field_checks.py`: ranges and choices of TRL's fields.
- `sizes.py`: counts, and the sizes of a rollout.
- `values.py`: a value of YAML or of a command line as the type of its field.
- `collectives.py`: a workaround for DeepSpeed on a CPU.

A new kind is one row in `registry.py`. A new method is one row in `METHODS`. A new field stands in `ESGRPOConfig` with
its line in the docstring and, where it has a range, one row in `RANGES`.
"""
