"""
What every folder may use; it imports nothing of the package.

- `lazy.py`: names of a package that load on first use.
- `nearest.py`: the known name that a misspelt one is nearest to.
- `processes.py`: what one process does for all of a run.
- `refusals.py`: a user's mistake as one line.
- `shown.py`: values in messages.
- `tables.py`: tables as plain text.
- `temporarily.py`: attributes that are set for a while.
- `writing.py`: files that are replaced whole or not at all.

A helper goes here when two folders need it.
"""
