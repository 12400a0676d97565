"""The curriculum: the prompts of each rollout, and the number and length of their completions.

- `stages.py`: the stages that a user writes.
- `planned.py`: the stages of a particular run, each with all its sizes.
- `staged_prompts.py`: the stage of each rollout, and the prompts that it draws.
- `prompt_order.py`: the order of prompts, as rows of datasets.
- `datasets.py`: checks of the datasets that a trainer gets.
- `dynamic_sampling.py`: the filling of a rollout, where fresh prompts replace those that teach nothing.
- `prompt_choice.py`: the prompts that are worth training on, by equal rewards and by early pass rates.
- `scored.py`: completions with their rewards, and their way from and to the processes.

A new field of a stage goes to `Stage` and `PlannedStage`. A check of a single stage goes to `Stage.__post_init__`, a
check that needs the run to `plan_stages`, and a check that needs the data to `datasets.check_stages`.
"""
