"""The commands of `python -m es_trl`, one module each.

A module has `ARGUMENT` (what stands behind the command), `HELP`, `TAKES_KEYS` (whether keys of a recipe may follow as
options), `add_arguments`, and `run`, which returns the text to print. It imports what is heavy inside `run`.

- `train`: trains a recipe
- `plan`: what a recipe will do
- `plot`: the figure of a run
- `report`: a page about a run
- `eval`: pass@k of a model
- `compare`: runs and evaluations side by side
- `sweep`: runs of a recipe over a grid
"""

COMMANDS = ("train", "plan", "plot", "report", "eval", "compare", "sweep")
