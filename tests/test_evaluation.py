"""Evaluations of tiny models: seeds, prompts, adapters, truncation, rewards, and the command."""

import json
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from evaluations import evaluated, lab_settings, outputs, samples_of, write_lines
from tiny_models import tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from es_trl.__main__ import main as cli
from es_trl.data import DataArguments
from es_trl.evaluation import evaluate, read_evaluation
from es_trl.evaluation.models import ModelFiles
from es_trl.evaluation.sampling import Sampling, TransformersSampler
from es_trl.lab import BASE_MODEL
from es_trl.rewards.named import RewardArguments


SHARED = Path(__file__).parents[2] / "shared"
CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
REWARD = """
def long(completions, prompts, answer, **columns):
    assert all(prompt.startswith('Q') for prompt in prompts) and set(answer) == {'1', '2'}
    return [float(len(text) > 4) for text in completions]

def spoken(completions, **columns):
    return [1.0 if message[0]['role'] == 'assistant' else -1.0 for message in completions]

async def later(completions, **columns):
    return [None] * len(completions)

def few(completions, **columns):
    return [1.0]

def breaks(completions, **columns):
    raise ValueError('mine')
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny model with random weights, which seldom ends by itself."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Settings for data and a reward of one's own, by the name of the reward."""
    (tmp_path / "own.py").write_text(REWARD)
    rows = [{"question": "Q one", "answer": "1"}, {"question": "Q two, longer", "answer": "2"}]
    path = write_lines(tmp_path / "task.jsonl", rows)

    def make(*names, **changes):
        keys = {"prompt_column": "question", "prompt_format": "text", **changes.pop("data", {})}
        reward = RewardArguments([f"{tmp_path}/own.py:{name}" for name in names])
        return lab_settings(data=DataArguments(dataset_name=path, **keys), reward=reward, **changes)

    return make


def test_the_same_twice_and_another_seed_is_other(tmp_path):
    first, again, other = (evaluated(tmp_path / str(at), seed=seed) for at, seed in enumerate((0, 0, 1)))
    assert first == again and first[0] != other[0]


def test_units_of_the_same_problems_draw_other_completions(tmp_path):
    """The first and the second completion of every problem are drawn in units of the same form."""
    evaluate(lab_settings(n=2), tmp_path)
    texts = [[each["completion"] for each in samples_of(tmp_path) if each["sample"] == place] for place in (0, 1)]
    assert len(texts[0]) == 8 and texts[0] != texts[1] and texts[0][:4] != texts[0][4:]


def test_the_random_state_of_the_process_stays(tmp_path):
    torch.manual_seed(5)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = evaluated(tmp_path / "a", n=1)
    assert torch.equal(torch.get_rng_state(), state) and np.array_equal(np.random.get_state()[1], numbers)
    torch.manual_seed(6)
    assert evaluated(tmp_path / "b", n=1) == first


def test_completions_do_not_depend_on_what_else_the_model_is_told(tmp_path):
    """A model's own generation_config may have a penalty or a top_k, which training does not have either."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(BASE_MODEL), AutoTokenizer.from_pretrained(BASE_MODEL)
    sampler = TransformersSampler(model, tokenizer, Sampling(max_new_tokens=12))
    prompts = tokenizer(["3 5 2=17:", "1 1 9=9:"])["input_ids"]
    before = sampler.sample(prompts, 8, 1)
    model.generation_config = config = GenerationConfig(top_k=1, repetition_penalty=2.0, do_sample=True)
    model.train()
    assert sampler.sample(prompts, 8, 1) == before
    assert model.generation_config is config and model.training
    assert len({each.text for each in before[:8]}) > 1


def test_at_temperature_0_all_completions_of_a_prompt_are_equal(tmp_path):
    evaluate(lab_settings(temperature=0.0, batch_size=32), tmp_path)
    texts = {}
    for sample in samples_of(tmp_path):
        texts.setdefault(sample["problem"], set()).add(sample["completion"])
    assert {len(each) for each in texts.values()} == {1}


def test_a_completion_without_an_end_is_truncated(own, tiny, tmp_path):
    found = evaluate(own("long", model=tiny, max_new_tokens=5), tmp_path / "eval")
    samples = samples_of(tmp_path / "eval")
    ended = [sample for sample in samples if not sample["truncated"]]
    assert {sample["tokens"] for sample in samples if sample["truncated"]} == {5}
    assert found.truncated == 1 - len(ended) / 8 and found.truncated > 0.5
    assert found.tokens == sum(sample["tokens"] for sample in samples) / 8
    assert [sample["reward"] for sample in samples] == [float(len(sample["completion"]) > 4) for sample in samples]


def test_the_end_token_is_counted_and_not_shown(tmp_path):
    evaluate(lab_settings(n=1), tmp_path)
    for sample in samples_of(tmp_path):
        assert not sample["truncated"] and sample["tokens"] == len(sample["completion"]) + 1


def test_chats_are_asked_as_training_does(own, tiny, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    settings = own("spoken", model=tiny, data={"prompt_format": "chat"})
    with pytest.raises(ValueError, match="the prompts are chats but .* has no chat template: set --prompt_format text"):
        evaluate(settings, tmp_path / "eval")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(tmp_path / "chat")
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(tmp_path / "chat")
    settings = own("spoken", model=str(tmp_path / "chat"), data={"prompt_format": "chat"})
    assert evaluate(settings, tmp_path / "eval").correct == [4, 4]
    problems = [json.loads(line) for line in (tmp_path / "eval" / "problems.jsonl").read_text().splitlines()]
    assert problems[0] == {
        "problem": 0,
        "prompt": [{"role": "user", "content": "Q one"}],
        "question": "Q one",
        "answer": "1",
    }


def test_of_several_rewards_each_must_be_above_0(own, tiny, tmp_path):
    alone = evaluate(own("long", model=tiny, max_new_tokens=3), tmp_path / "a")
    assert alone.correct == [0, 0]
    both = evaluate(own("long", "later", model=tiny, max_new_tokens=12), tmp_path / "b")
    assert both.correct == evaluate(own("long", model=tiny, max_new_tokens=12), tmp_path / "c").correct != [0, 0]
    assert evaluate(own("later", model=tiny), tmp_path / "d").correct == [0, 0]
    assert {sample["reward"] for sample in samples_of(tmp_path / "d")} == {None}


def test_a_reward_file_that_has_changed_is_another_reward(own, tiny, tmp_path):
    settings = own("long", model=tiny, n=1)
    evaluate(settings, tmp_path / "eval")
    (tmp_path / "own.py").write_text(REWARD.replace("> 4", "> 3"))
    with pytest.raises(ValueError, match=r"other settings \(`rewards` has changed\): set another --output_dir"):
        evaluate(settings, tmp_path / "eval")


def test_a_reward_with_faults(own, tiny, tmp_path):
    with pytest.raises(
        ValueError, match="the reward 'few' must return a list of 2 numbers, one per completion, got 1: correct it"
    ):
        evaluate(own("few", model=tiny), tmp_path)
    command = ["eval", tiny, "--data", str(tmp_path / "task.jsonl"), "--reward", f"{tmp_path}/own.py:breaks"]
    with pytest.raises(ValueError, match="mine"):  # with its traceback
        cli([*command, "--prompt_column", "question", "--prompt_format", "text", "--n", "1"])


def test_an_adapter_of_a_folder(own, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL, dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    for name, values in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=3.0)
    adapted.save_pretrained(tmp_path / "adapter")
    base, changed = evaluated(tmp_path / "a"), evaluated(tmp_path / "b", model=str(tmp_path / "adapter"))
    assert base[0] != changed[0]
    files = ModelFiles.of(str(tmp_path / "adapter"))
    assert (files.base, files.adapter_rank) == (BASE_MODEL, 4) and files.digest() != ModelFiles.of(BASE_MODEL).digest()
    prompt = {"input_ids": torch.tensor([files.tokenizer("3 5 2=17:")["input_ids"]])}
    with torch.no_grad():
        assert torch.equal(files.load()(**prompt).logits, adapted.eval()(**prompt).logits)


def test_a_run_gives_the_defaults_and_options_win(tiny, tmp_path, capsys, own):
    run = tmp_path / "run"
    checkpoint = run / "checkpoint-8"
    for folder in (run, checkpoint):
        tiny_model("llama").save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    recipe = f"reward: {tmp_path}/own.py:long\nprompt_template: 'Q {{question}}'\nprompt_format: text\n"
    (run / "es_recipe.yaml").write_text(recipe + "max_completion_length: 7\ndataset_name: gone.jsonl\n")
    own("long")
    options = ["--data", str(tmp_path / "task.jsonl"), "--n", "4", "--batch_size", "8"]
    capsys.readouterr()
    assert cli(["eval", str(checkpoint), *options]) == 0
    printed = capsys.readouterr()
    assert "2 problems x 4 completions" in printed.out and "\r" not in printed.err + printed.out
    found = read_evaluation(checkpoint / "eval-task")
    assert found.settings["max_new_tokens"] == 7 and found.rewards == [f"{tmp_path}/own.py:long"]
    assert (checkpoint / "eval-task" / "passk.png").read_bytes().startswith(b"\x89PNG")
    first = json.loads((checkpoint / "eval-task" / "problems.jsonl").read_text().splitlines()[0])
    assert first["prompt"] == "Q Q one"
    options += ["--prompt_column", "question", "--max_new_tokens", "3", "--output_dir", str(tmp_path / "eval")]
    assert cli(["eval", str(run), *options]) == 0
    assert read_evaluation(tmp_path / "eval").settings["max_new_tokens"] == 3
    assert json.loads((tmp_path / "eval" / "problems.jsonl").read_text().splitlines()[0])["prompt"] == "Q one"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the data of the shared folder")
def test_gsm8k_and_the_math_reward(tiny, tmp_path, capsys):
    options = ["--data", str(SHARED / "data/gsm8k/test.jsonl"), "--split", "train[:3]", "--n", "2", "--reward", "math"]
    keys = ["--prompt_column", "question", "--answer_column", "answer", "--prompt_format", "text"]
    assert cli(["eval", tiny, *options, *keys, "--max_new_tokens", "4", "--output_dir", str(tmp_path)]) == 0
    found = read_evaluation(tmp_path)
    assert (found.problems, found.n, list(found.pass_at_k), found.rewards) == (3, 2, [1, 2], ["math"])
    printed = capsys.readouterr()
    assert printed.out.count("\n1 ") == printed.out.count("\n2 ") == 1 and "\r" not in printed.err
    assert outputs(tmp_path)[1]["data"].endswith("gsm8k/test.jsonl:train[:3]")
