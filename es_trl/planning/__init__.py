"""What a recipe would do and whether it fits, from its numbers alone: `python -m es_trl plan`.

- `plan.py`: the whole plan as text; a new section of it goes there.
- `summary.py`: its part on memory and time as text, with the warnings, and the seconds per rollout.
- `launch.py`: GPUs by their data sheets, and the accelerate config; a new GPU is a row of `GPUS`.
- `model_shape.py`: sizes of a model; a model that a recipe names is a row of `CONFIGS`.
- `workload.py`: what one GPU does in one stage, read from a recipe.
- `memory.py`: bytes per part and moment; a new part is a line of `memory_of` and a section of docs/memory.md.
- `limits.py`: refusals of a run that does not fit, with the setting to change.
"""
