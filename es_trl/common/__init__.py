"""
Helpers for every folder of the package; they import nothing else of it.

- `children.py`: Python processes that end with the one that starts them.
- `lazy.py`: names of a package that load on first use.
- `nearest.py`: the known name nearest to a misspelt one.
- `processes.py`: work that the main process does for all.
- `refusals.py`: a user's mistake as one line.
- `shown.py`: values as text for messages.
- `tables.py`: tables as plain text.
- `temporarily.py`: attributes with temporary values.
- `writing.py`: writes that replace a whole file or leave it as it was.

A helper goes here when two folders need it.
"""
