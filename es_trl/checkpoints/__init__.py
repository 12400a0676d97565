"""Checkpoints: their content, the check that they are whole, and the choice of the one to resume from.

- `files.py`: the list of a checkpoint's files, which is used to check each of them.
- `run_state.py`: the state of the run (`es_state.json`) and the open rollout.
- `digests.py`: a digest of the weights in a folder.
- `weights.py`: the check that all weights are loaded, and the weights of a reference model that changes.
- `choice.py`: the choice of the checkpoint to resume from, and of those to delete.
- `lineage.py`: the run that a checkpoint belongs to.
- `run_folder.py`: the run that an `output_dir` belongs to.
- `changes.py`: the differences between the run that wrote a checkpoint and the run that resumes from it.
- `save_gate.py`: the moments at which a checkpoint can be written.

To save a new value, add a field to `RunState`, let `trainer/checkpoint.py` write and restore it, and raise the version
in `files.py`. To explain the change of a setting to a resumed run, add an entry to `_MEANINGS` in `changes.py`.
"""
