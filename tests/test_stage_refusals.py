"""Curricula that no run can follow are refused."""

import pytest
from stage_runs import ANNEAL, DATASETS, SWITCH, make

from es_trl import Curriculum, Stage


def test_text_and_messages_are_not_mixed(tmp_path):
    chat = DATASETS["hard"].map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    with pytest.raises(ValueError, match="but one has prompts of text and the other has messages"):
        make(tmp_path, datasets={"train": DATASETS["train"], "hard": chat},
             curriculum=[{"start": 0.5, "data": {"train": 1, "hard": 1}}])  # fmt: skip


def test_a_curriculum_that_comes_late_is_refused(tmp_path):
    trainer = make(tmp_path, datasets=DATASETS["train"])
    trainer.add_callback(Curriculum([Stage(0.5)]))
    with pytest.raises(ValueError, match="this Curriculum has no datasets: give it to the trainer in `callbacks`"):
        trainer.train()


@pytest.mark.parametrize(
    ("datasets", "stage", "message"),
    [
        ({"train": DATASETS["train"], "hard": DATASETS["hard"].select(range(1))}, SWITCH,
         "stage 1 takes up to 2 prompts of 'hard' per rollout but this dataset has only 1"),
        ({"train": DATASETS["train"], "hard": DATASETS["hard"].remove_columns("target")},
         {**SWITCH, "data": {"train": 1, "hard": 1}}, "stage 1 mixes .* but their columns differ in target"),
        ({"easy": DATASETS["train"]}, SWITCH, "stage 0 takes its prompts from 'train' but the datasets are easy"),
        (DATASETS["train"].to_iterable_dataset(), {"start": 0.5}, "must be a datasets.Dataset .* by their row, got It"),
        (DATASETS["train"], SWITCH, "stage 1 takes its prompts from 'hard' but the datasets are train"),
    ],
)  # fmt: skip
def test_data_that_cannot_fill_a_stage_is_refused(datasets, stage, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, datasets=datasets, **ANNEAL, curriculum=[stage])


def test_several_data_sets_without_stages_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"is a dict of datasets \(train, hard\) but there is no curriculum: set `curriculum`"
    ):
        make(tmp_path)


def test_two_curricula_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the run has 2 Curriculum callbacks"):
        make(tmp_path, curriculum=[{"start": 0.5}], callbacks=[Curriculum([Stage(0.5)])])
