"""Checkpoints: what one holds, whether it is whole, which one a run goes on from.

files       the list of a checkpoint's files, by which each is checked
run_state   the state of the run: `es_state.json`, and the rollout under way
weights     weights that are all loaded, and those of a reference model that moves
choice      the checkpoint that a run goes on from, and those that are kept
lineage     the run that a checkpoint belongs to
run_folder  the run that an `output_dir` belongs to
changes     what differs between the run that wrote a checkpoint and the one that resumes it
save_gate   the moments at which a checkpoint can be written

A new field is one of `RunState`: `trainer/save.py` writes it, `trainer/resume.py` takes it up, and `STATE_VERSION` goes
up. What the change of a setting means to a resumed run is an entry in `changes`.
"""
