"""Execute a notebook in place: `python tests/execute_notebook.py NOTEBOOK`, which is `make notebook`."""

import sys
from pathlib import Path

import nbformat
from launching import environment
from nbclient import NotebookClient


LIMIT = 300  # seconds that a cell may take


def execute(path, folder):
    """The notebook at `path` with the outputs of an execution from a clean state, which writes into `folder`."""
    notebook = nbformat.read(path, as_version=4)
    # no times in the file, and what a cell prints in one piece, whenever it was flushed
    client = NotebookClient(
        notebook,
        timeout=LIMIT,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment())
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


if __name__ == "__main__":
    path = Path(sys.argv[1])
    nbformat.write(execute(path, path.parent), path)
