"""The end of a run: its page and the card, which names it and shows how to call the model."""

import logging
import re

import pytest
from report_runs import record, write_records

from es_trl.hub.card import with_quick_start
from es_trl.tracking.completions import Samples, samples_of
from es_trl.trainer import last_page


CARD = """# Model Card

## Quick start

```python
question = "If you had a time machine?"
generator = pipeline("text-generation", model="me/mine", device_map="auto")
```

## Training procedure

Text.
"""


def prompted(folder, prompt):
    """A folder whose run has one sample with this prompt."""
    kept = Samples(folder, writes=True)
    kept.begin()
    columns = {"prompt": [prompt], "completion": ["c"], "rewards": {}, "advantages": [0.0]}
    kept.append(samples_of(0, 1, columns, [(1, False)]))
    return folder


PROMPTS = {"text": "3 5 2=17:", "chat": [{"role": "user", "content": "3 5 2=17:"}]}


@pytest.mark.parametrize("has_template", [True, False])
@pytest.mark.parametrize("form", ["text", "chat", None])
def test_the_quick_start_fits_the_prompts_and_the_tokenizer(form, has_template, tmp_path):
    folder = tmp_path if form is None else prompted(tmp_path, PROMPTS[form])
    card = with_quick_start(CARD, folder, has_template)
    if has_template and form != "text":
        assert card == CARD
        return
    code = re.search("```python\n(.*?)```", card, re.DOTALL)[1]
    assert (
        "time machine" not in card and 'model="me/mine"' in code and card.endswith("## Training procedure\n\nText.\n")
    )
    called = {}
    (assigned,) = [line for line in code.splitlines() if line.startswith("prompt = ")]
    exec(assigned, called)
    assert called["prompt"] == ("The answer is" if form is None else "3 5 2=17:")
    assert "generator(prompt, max_new_tokens=128, return_full_text=False)" in code


@pytest.mark.parametrize("prompt", ['"""```\n\\', "{x} \ud800 '", ""])
def test_any_prompt_is_quoted(prompt, tmp_path):
    card = with_quick_start(CARD, prompted(tmp_path, prompt), False)
    called = {}
    exec(next(line for line in card.splitlines() if line.startswith("prompt = ")), called)
    assert called["prompt"] == prompt and card.count("\n```") == 2


def test_another_card_is_left_alone(tmp_path):
    assert with_quick_start("# Mine\n", tmp_path, False) == "# Mine\n"


def test_a_run_ends_with_its_page(lab_trainer, with_pages):
    pytest.importorskip("altair")
    trainer = lab_trainer(max_steps=4)
    folder = trainer.history.path.parent
    (folder / "report.html").write_text("of an earlier run")
    trainer.train()
    card, page = (folder / "README.md").read_text(), (folder / "report.html").read_text()
    assert "[`report.html`](report.html) has these charts" in card and "for 1 rollout of 4 prompts × 4" in page
    assert re.search(r"prompt = '\d[^']*=\d+:'\n", card) and "time machine" not in card
    assert page.count("data-rollout=") == 16 and "longest completion, tokens" in page and "trl 1." in page


def test_saves_do_not_wait_for_a_page(lab_trainer, monkeypatch):
    calls = []
    monkeypatch.setattr("es_trl.trainer.pushing_trainer.write_page", lambda run_dir: calls.append(run_dir) or False)
    trainer = lab_trainer(save_strategy="steps", save_steps=4)
    trainer.train()
    assert calls == [trainer.history.path.parent] and "report.html" not in (calls[0] / "README.md").read_text()


def test_a_page_that_fails_is_one_line(tmp_path, caplog, monkeypatch):
    pytest.importorskip("altair")
    folder = write_records(tmp_path, [record(0)])
    (folder / "report.html").mkdir()
    with caplog.at_level(logging.WARNING):
        assert not last_page.write_page(folder)
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert line == f"report.html is not written: {folder}/report.html cannot be read or written: Is a directory"
    monkeypatch.setattr(last_page.importlib.util, "find_spec", lambda name: None)
    assert not last_page.write_page(folder) and len(caplog.records) == 1
