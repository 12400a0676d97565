"""
What a run leaves to look at.

- `console.py`: the lines that a person reads during a run.
- `history.py`: the records of a run, their file, and its summary. A new measurement is a field of `RolloutRecord`,
  which trackers get, too.
- `outcome.py`: the outcome of a run in numbers.
- `completions.py`: sample completions with their rewards, at some rollouts.
- `setup.py`: the model, the sizes and the versions of a run.
- `trackers.py`: the numbers of a record as trackers get them.
- `plots.py`: the figure of a run, one function per panel.
- `drawing.py`: when and where the figure is drawn while the run goes on.
"""
