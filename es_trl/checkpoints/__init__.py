"""Checkpoints: what one holds, whether it is whole, which one a run goes on from.

- `files.py`: the list of a checkpoint's files, by which each is checked.
- `run_state.py`: the state of the run: `es_state.json`, and the rollout under way.
- `weights.py`: weights that are all loaded, and those of a reference model that moves.
- `choice.py`: the checkpoint that a run goes on from, and those that are kept.
- `lineage.py`: the run that a checkpoint belongs to.
- `run_folder.py`: the run that an `output_dir` belongs to.
- `changes.py`: what differs between the run that wrote a checkpoint and the one that resumes it.
- `save_gate.py`: the moments at which a checkpoint can be written.

A new field is one of `RunState`, which `trainer/checkpoint.py` writes and restores; raise the version in `files.py`.
What the change of a setting means to a resumed run is an entry in `changes.py`.
"""
