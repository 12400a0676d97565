"""Sweeps: one recipe trained and evaluated at every point of a grid, to find the best schedule for each k of pass@k.

- `grid.py`: the points of a grid and the runs of a sweep.
- `checks.py`: the checks before the first run starts.
- `record.py`: `sweep.json`, which fixes what a folder's sweep is.
- `runs.py`: one run: its training, its evaluation, its lock and its log.
- `estimates.py`: pass@k of each point with intervals over problems and seeds, and the best point for each k.
- `report.py`: the table, and `sweep_results.json`.
- `figure.py`: `sweep.png`.
- `sweep.py`: the whole sweep, from its settings to its results.
"""
