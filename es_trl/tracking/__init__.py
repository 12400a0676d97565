"""
What a run leaves to look at.

- `record.py`: one rollout, field by field. A new measurement is a field of `RolloutRecord`.
- `history.py`: the records of a run, their file, and the summary of a run. Trackers get the fields in `TRACKED`.
- `plots.py`: the figure of a run, one function per panel.
"""
