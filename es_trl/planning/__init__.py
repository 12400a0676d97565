"""The plan of a recipe, computed without loading its model: `python -m es_trl plan`.

- `plan.py`: the whole plan as text. Add new sections there.
- `expected.py`: what the actuators did to the entropy of a language model. Add a measured actuator there.
- `summary.py`: the section on memory and time as text, its warnings, and the projected seconds per rollout.
- `launch.py`: GPUs by their data sheets, and the accelerate config of a launch. Add a GPU to `GPUS`.
- `model_shape.py`: the sizes of a model. Add a model that a recipe names to `CONFIGS`.
- `workload.py`: the work of one GPU in one stage, read from a recipe.
- `memory.py`: the bytes of each part at each moment. Add a part to `memory_of` and to docs/guides/memory.md.
- `limits.py`: errors for runs that do not fit into the GPUs, with the setting to change.
"""
