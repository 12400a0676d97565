"""The sample completions that a run keeps: which, with what, and the same after a resume."""

import pytest
from lab_runs import BONUS

from es_trl.control.geometry import Geometry
from es_trl.tracking.completions import LONGEST, Samples, is_sampled, read_completions, samples_of, text_of
from es_trl.tracking.setup import read_setup


def sampled(rollouts):
    return [rollout for rollout in range(rollouts) if is_sampled(rollout, rollouts)]


def test_about_ten_rollouts_and_the_ends():
    assert [sampled(rollouts) for rollouts in (1, 2, 5, 12)] == [[0], [0, 1], [*range(5)], [*range(12)]]
    for rollouts in (13, 96, 800, 5_000):
        chosen = sampled(rollouts)
        assert len(chosen) == 12 and (chosen[0], chosen[-1]) == (0, rollouts - 1)
        gaps = [later - earlier for earlier, later in zip(chosen, chosen[1:], strict=False)]
        assert max(gaps) - min(gaps) <= 1


def columns(prompts, generations):
    rows = range(prompts * generations)
    return {
        "prompt": [f"p{row // generations}" for row in rows],
        "completion": [f"c{row}" for row in rows],
        "rewards": {"one": [float(row) for row in rows], "two": [float("nan")] * len(rows)},
        "advantages": [-1.0 / (row + 1) for row in rows],
    }


@pytest.mark.parametrize(("prompts", "generations"), [(6, 8), (2, 3), (1, 1), (4, 4)])
def test_four_prompts_of_four_completions_at_most(prompts, generations):
    rows = samples_of(7, generations, columns(prompts, generations), [(3, False), (4, True)])
    expected = [
        (f"p{p}", f"c{p * generations + g}") for p in range(min(prompts, 4)) for g in range(min(generations, 4))
    ]
    assert [(row["prompt"], row["completion"]) for row in rows] == expected
    assert {row["rollout"] for row in rows} == {7} and not any(row["chat"] for row in rows)
    assert rows[0]["rewards"] == {"one": 0.0, "two": None} and rows[0]["advantage"] == -1.0
    # the completions of other processes are not measured here
    lengths = [(3, False), (4, True), *[(None, None)] * 16]
    assert [(row["tokens"], row["truncated"]) for row in rows] == lengths[: len(rows)]


def test_chats_are_text():
    image = {"role": "user", "content": [{"type": "image", "image": object()}, {"type": "text", "text": "this?"}]}
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}]}
    assert text_of([{"role": "assistant", "content": "yes"}]) == "yes" == text_of("yes")
    assert text_of([{"role": "system", "content": "be brief"}, image]) == "system: be brief\n\nuser: [image]this?"
    assert text_of([call, {"role": "tool", "content": "3"}]) == 'assistant: [calls {"name": "add"}]\n\ntool: 3'
    assert text_of(None) == text_of([]) == text_of([{"role": "assistant", "content": None}]) == ""
    rows = samples_of(0, 1, {**columns(1, 1), "prompt": [[image]]}, [])
    assert rows[0]["chat"] and rows[0]["prompt"] == "[image]this?"


def test_a_long_text_keeps_its_ends():
    text = "a" * LONGEST + "b" * LONGEST
    (row,) = samples_of(0, 1, {**columns(1, 1), "completion": [text]}, [])
    assert row["completion"].startswith("a" * 2_000 + "\n[... 4000 characters are left out ...]\n")
    assert row["completion"].endswith("b" * 2_000) and len(row["completion"]) < LONGEST + 60


def test_the_file_begins_anew_or_where_a_run_resumes(tmp_path):
    kept = Samples(tmp_path / "run", writes=True)
    kept.begin()
    for rollout in (0, 3, 6):
        kept.append(
            samples_of(rollout, 2, {**columns(2, 2), "completion": ["</script>", "\x00\ud800", "😀", "\n"]}, [])
        )
    whole = kept.path.read_bytes()
    assert [row["completion"] for row in read_completions(kept.path)][:4] == ["</script>", "\x00\ud800", "😀", "\n"]
    kept.path.write_bytes(whole + b'{"rollout": 9, "pro')  # of a process that was killed
    assert len(read_completions(kept.path)) == 12
    other = Samples(tmp_path / "other", writes=True)
    other.begin(kept.path, keep=4)
    assert [row["rollout"] for row in read_completions(other.path)] == [0] * 4 + [3] * 4
    assert whole.startswith(other.path.read_bytes())
    other.begin()
    assert other.path.read_bytes() == b""
    Samples(tmp_path / "third", writes=False).begin(kept.path, keep=4)
    assert not (tmp_path / "third").exists()
    kept.path.write_text('{"rollout": 1}\n')
    with pytest.raises(
        ValueError, match=r"line 1 of .*es_completions.jsonl is not a sample completion: remove the file"
    ):
        read_completions(kept.path)


def test_a_run_keeps_what_was_trained_on(lab_trainer):
    trainer = lab_trainer(max_steps=12, **BONUS)
    trainer.train()
    rows = read_completions(trainer._samples.path)
    assert [row["rollout"] for row in rows] == [rollout for rollout in range(3) for _ in range(16)]
    for rollout, record in enumerate(trainer.history.records):
        own = [row for row in rows if row["rollout"] == rollout]
        mean = sum(row["rewards"]["countdown_reward"] for row in own) / 16
        assert mean == pytest.approx(record["reward"], abs=1e-5)
        assert sum(row["tokens"] for row in own) / 16 == pytest.approx(record["completion_tokens"])
        assert all(row["prompt"] == own[i // 4 * 4]["prompt"] for i, row in enumerate(own))
        assert all(sum(row["advantage"] for row in own[i : i + 4]) == pytest.approx(0, abs=1e-4) for i in (0, 4, 8, 12))
    # cut is what has the full length and no end
    assert all(row["tokens"] == 12 for row in rows if row["truncated"]) and not all(row["truncated"] for row in rows)
    setup = read_setup(trainer.args.output_dir)
    assert setup.model == "lab/base" and setup.rewards == ["countdown_reward"] and setup.device == "cpu"
    assert setup.geometry == Geometry.of(trainer.args, max_steps=12) and setup.versions["trl"].startswith("1.")


@pytest.mark.parametrize("save", [6, 8], ids=["inside a rollout", "between rollouts"])
def test_a_resumed_run_has_the_samples_of_the_whole_one(save, lab_trainer, tmp_path):
    whole = lab_trainer(max_steps=16, save_strategy="steps", save_steps=save, output_dir=str(tmp_path / "whole"))
    whole.train()
    checkpoint = tmp_path / "whole" / f"checkpoint-{save}"
    assert [row["rollout"] for row in read_completions(checkpoint / "es_completions.jsonl")][-1] == (save - 1) // 4
    own = tmp_path / "own"
    resumed = lab_trainer(max_steps=16, save_strategy="no", output_dir=str(own))
    (own / "es_completions.jsonl").write_text("of another run\n")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert (own / "es_completions.jsonl").read_bytes() == (tmp_path / "whole" / "es_completions.jsonl").read_bytes()
    lab_trainer(max_steps=4, output_dir=str(own)).train()  # a second run into the same folder
    assert {row["rollout"] for row in read_completions(own / "es_completions.jsonl")} == {0}


def test_a_checkpoint_of_an_earlier_version_has_no_samples(tmp_path):
    kept = Samples(tmp_path, writes=True)
    kept.begin(tmp_path / "checkpoint-8" / "es_completions.jsonl", keep=2)
    assert kept.path.read_bytes() == b"" and read_completions(kept.path) == []
