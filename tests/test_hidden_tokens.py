"""Tokens that stay out of what is written, and pushes that are told from those that never ran."""

import copy
import os
import pickle
from concurrent.futures import Future

import pytest
from launching import ROOT
from local_hub import TOKEN
from transformers.utils.hub import PushInProgress

from es_trl.hub.card import RECIPE_FILE, write_recipe
from es_trl.hub.push import Save
from es_trl.hub.secrets import HiddenToken, hide_tokens, without_tokens
from es_trl.recipe import RecipeParser


def test_a_hidden_token_is_sent_and_not_kept():
    token = HiddenToken(TOKEN)
    assert f"Bearer {token}" == f"Bearer {TOKEN}" and repr({"token": token}) == "{'token': <token>}"
    assert pickle.loads(pickle.dumps({"token": token})) == {"token": None}
    assert copy.deepcopy({"token": token}) == copy.copy({"token": token}) == {"token": TOKEN}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"Bearer {TOKEN}, said", "Bearer <token>, said"),
        ("hf_oauth_abcdefghij0123456789.rest_of-it end", "<token> end"),
        ("api_org_ABCDEFGHIJ0123456789", "<token>"),
        ("hf_internal_testing/tiny-random-model", "hf_internal_testing/tiny-random-model"),
        ("runs/hf_run", "runs/hf_run"),
        ("runs/hf_qwen25mathinstruct7b", "runs/hf_qwen25mathinstruct7b"),
    ],
)
def test_what_looks_like_a_token(text, hidden):
    assert hide_tokens(text) == hidden
    assert without_tokens({"a": [{"b": text}]}) == {"a": [{"b": hidden}]}


def test_the_recipe_that_was_run(tmp_path):
    words = ["--config", str(ROOT / "recipes" / "countdown_es.yaml"), "--max_steps", "16", "--learning_rate=1e-3"]
    words += ["--entropy_schedule.end", "0.1", "--report_to", "none", "--prompt_suffix", "answer: 1", "--use_peft"]
    words += ["--no_shuffle_dataset", "--reward_weights", "1", "--lora_target_modules", "q_proj", "v_proj"]
    words += ["--run_name", "007"]
    recipe = RecipeParser().parse(words)
    assert recipe.given["entropy_schedule"] == {"kind": "stable_anneal", "target": 0.3, "end": 0.1, "ratio": 0.25}
    write_recipe(tmp_path, recipe.given)
    again = RecipeParser().parse(["--config", str(tmp_path / RECIPE_FILE)])
    assert again.given == recipe.given and again.given["shuffle_dataset"] is False
    assert (again.data, again.model) == (recipe.data, recipe.model) and again.training.run_name == "007"
    differing = {name for name, value in vars(recipe.training).items() if getattr(again.training, name) != value}
    assert {name for name in differing if not name.startswith("_")} <= {"distributed_state", "deepspeed_plugin"}
    write_recipe(tmp_path, None)
    assert os.listdir(tmp_path) == []


def test_a_push_that_another_one_keeps_from_running_is_no_push(lab_trainer, tmp_path):
    trainer = lab_trainer()
    trainer.hub_model_id, running = "me/run", Future()
    trainer.push_in_progress = PushInProgress([running])  # of a training that was interrupted
    save = Save(4, str(tmp_path))
    trainer._push(save)
    assert trainer.missed_pushes == (4,) and trainer._pushes.owed == save and trainer._pushes.running is None
    running.set_result(None)
    trainer.train(resume_from_checkpoint=None)
    assert trainer.missed_pushes == ()
