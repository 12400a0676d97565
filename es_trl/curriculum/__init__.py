"""The curriculum: which prompts a rollout has, and how many completions of which length.

- `stages.py`: the stages that a user writes.
- `planned.py`: the stages of a particular run, each with all its sizes.
- `staged_prompts.py`: the stage that a rollout is in, and the prompts that it draws.
- `prompt_order.py`: the order of prompts, as rows of data sets.
- `datasets.py`: the data sets that a trainer takes.
- `dynamic_sampling.py`: fresh prompts for those with nothing to learn from.

A new field of a stage goes to `Stage` and `PlannedStage`; a rule of a single stage is a check in `Stage.__post_init__`,
one about the run in `plan_stages`, and one about the data in `datasets.check_stages`.
"""
