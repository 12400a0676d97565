"""
What a run leaves to look at.

- `history.py`: the records of a run, their file, and its summary. A new measurement is a field of `RolloutRecord`;
  trackers get the fields in `TRACKED`.
- `outcome.py`: the outcome of a run in numbers.
- `completions.py`: sample completions with their rewards, at some rollouts.
- `setup.py`: the model, the sizes and the versions of a run.
- `plots.py`: the figure of a run, one function per panel.
- `drawing.py`: when and where the figure is drawn while the run goes on.
"""
