"""The page about a run: what it says and draws, whatever the folder holds or lacks."""

import json
import re
import shutil

import pytest
from launching import ROOT
from page_reader import Page, with_vega, without_vega  # noqa: F401, for pytest
from report_runs import HOSTILE, everything, record, write_records
from written_run import write_run

from es_trl.__main__ import main as cli
from es_trl.tracking import history
from es_trl.tracking.history import read_history
from es_trl.tracking.outcome import outcome_of


alt = pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from es_trl.common.shown import duration  # noqa: E402
from es_trl.report.evaluations import during_training  # noqa: E402
from es_trl.report.run import read_run  # noqa: E402
from es_trl.report.samples import MOST, samples_table  # noqa: E402
from es_trl.report.words import plain, sentences, tiles  # noqa: E402
from es_trl.report.write import write_comparison, write_report  # noqa: E402


@pytest.mark.usefixtures("with_vega")
def test_the_command_writes_one_file(tmp_path, capsys):
    shutil.copytree(ROOT / "results" / "countdown_es", tmp_path / "run")
    before = {path.name for path in (tmp_path / "run").iterdir()}
    assert cli(["report", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/run/report.html\n"
    assert cli(["report", str(tmp_path / "run"), "--output", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").read_bytes() == (tmp_path / "run" / "report.html").read_bytes()
    assert {path.name for path in (tmp_path / "run").iterdir()} - before == {"report.html"}
    page = Page(tmp_path / "other.html")
    assert 800_000 < len(page.text) < 3_000_000 and page.text.count("vegaEmbed=") == 1
    # nothing is loaded from elsewhere
    assert not [tag for tag in page.tags if {"src", "href"} & set(tag[1]) or tag[0] in ("link", "iframe", "img")]
    assert list(page.specs) == ["entropy", "control", "reward", "lengths", "truncated", "clip"]
    records = read_history(tmp_path / "run" / "es_history.jsonl")
    assert [row["entropy"] for row in page.data("entropy")] == pytest.approx([r["entropy"] for r in records], abs=1e-4)


def test_all_that_a_page_can_show(tmp_path):
    page = Page(write_report(everything(tmp_path / "all")))
    charts = ["entropy", "control-ClipHighActuator", "control-EntropyBonusActuator", "reward", "pass_over_rollouts"]
    assert list(page.specs) == [*charts, "pass_over_k", "lengths", "truncated", "clip", "stages"]
    for spec in page.specs.values():
        alt.Chart.from_dict(json.loads(json.dumps(spec)), validate=True)
    assert [tag for tag in page.tags if "data-chart" in tag[1]] and page.seen.count("entropy has collapsed") == 1
    assert "10hand overClipHighActuator is at its bound" in "".join(page.cells)
    text = json.dumps(page.specs)
    assert text.count("EntropyBonusActuator takes over") == 3  # at the entropy and at both controls
    assert {row["k"] for row in page.data("pass_over_rollouts")} == {"pass@1", "pass@8 on hard"}
    assert [row["k"] for row in page.data("pass_over_k")] == [1, 2, 4, 8, 16]
    by_clip = [row["control"] for row in page.data("control-ClipHighActuator")]
    assert None not in by_clip[:10] and by_clip[10:] == [None] * 30
    assert page.data("entropy")[1]["entropy"] is None and page.data("entropy")[5]["low"] == 0.38


def test_texts_of_a_run_are_shown_and_never_run(tmp_path):
    page = Page(write_report(everything(tmp_path / "all")))
    shown = [HOSTILE[0], HOSTILE[1], "a\ufffdb\ufffdc \ufffd", HOSTILE[3]]
    assert [cell for cell in page.cells if cell in shown] == shown * 6
    assert "stage 1 begins: <b>harder</b> prompts <token>\n" in page.cells
    assert not [tag for tag in page.tags if tag[0] in ("b", "img")] and len(page.scripts) == 3
    assert "hf_aaa" not in page.text and "<b><token></b>" in page.seen and "hub_token" not in page.text


@pytest.mark.usefixtures("with_vega")
def test_a_page_of_a_long_run_stays_small(tmp_path):
    folder = everything(tmp_path / "long", 5_000)
    row = json.loads((folder / "es_completions.jsonl").read_text().splitlines()[0])
    long = [json.dumps({**row, "rollout": at, "completion": "\u4e00<" * 2_000}) for at in range(12) for _ in range(16)]
    (folder / "es_completions.jsonl").write_text("\n".join(long) + "\n")
    page = Page(write_report(folder))
    assert len(page.text.encode()) < 3_000_000
    for name in ("entropy", "reward", "lengths", "clip", "control-EntropyBonusActuator"):
        rollouts = [row["rollout"] for row in page.data(name)]
        assert rollouts == [*range(0, 5_000, 5), 4_999], name
    assert "at most 1000 points: every 5. rollout" in page.seen


def test_samples_are_shortened_to_fit():
    sample = {"rollout": 0, "prompt": "p", "completion": "<" * 4_000, "rewards": {"r": None}, "advantage": 0.0}
    sample |= {"tokens": None, "truncated": None, "chat": False}
    assert "Texts are shown without" not in samples_table([sample])
    table = samples_table([sample] * 192)
    assert len(table) < MOST + 192 * 400 and "beyond 500 characters" in table and "\n[...]\n" in table
    assert samples_table([]) == ""


def test_the_outcome_by_hand(tmp_path):
    records = [record(at, entropy_se=0.02, error=0.1 if at < 30 else None, seconds=30.0) for at in range(40)]
    records[30] |= {"error": -0.3}
    records[31] |= {"error": 0.1, "events": [{"kind": "alarm", "message": "m"}, {"kind": "push", "message": "m"}]}
    found = outcome_of(records)
    assert (found.errors["stable"].rms, found.errors["stable"].rollouts) == (pytest.approx(0.1), 15)
    assert found.errors["anneal"].rms == pytest.approx(0.05**0.5) and found.errors["anneal"].noise == 0.02
    assert found.reward == (pytest.approx(4.5 / 40), pytest.approx(34.5 / 40)) and found.alarms == 1
    run = read_run(write_records(tmp_path / "run", records, {"EntropyBonusActuator": [-1.0, 1.0]}))
    assert [(name, value) for name, value, _ in tiles(run)] == [
        ("Entropy", f"0.400 → {records[-1]['entropy']:.3f} nats"),
        ("Error, stable phase", "0.100 nats"),
        ("Error, anneal phase", "0.224 nats"),
        ("Reward", "0.113 → 0.863"),
        ("Alarms", "1"),
        ("Time", "20 min 0 s"),
    ]
    assert sentences(run) == [
        "The model was trained with GRPO and the method es_pid for 40 rollouts, 8 completions per prompt.",
        "Its target entropy was 0.4 nats up to rollout 30, and then went to 0.13 nats. The controller (self tuned PID) "
        "moved the entropy bonus.",
        "Entropy was off its target by 0.100 nats in the stable phase (5.0 times the noise of one rollout) and 0.224 "
        "nats in the anneal phase (11.2 times the noise of one rollout). The control was at a bound in 4 of 40 "
        "rollouts.",
    ]


def test_words():
    assert [duration(s) for s in (0.61, 12.4, 119, 3_700, 200_000)] == [
        "0.61 s",
        "12 s",
        "1 min 59 s",
        "1 h 2 min",
        "2.3 days",
    ]
    names = ("SelfTunedPIDController(dead_time=1)", "ClipHighActuator(low=0.2)", "KLCoefActuator", "Mine", "Actuator")
    assert [plain(name) for name in names] == ["self tuned PID", "clip high", "KL coef", "mine", "actuator"]


# what a history may lack: the charts that are left
CONTROL = ("stage", "target", "error", "control", "settings", "saturated", "actuator", "events")
MEASURED = ("entropy", "reward", "clip_high_fraction", "completion_tokens", "num_generations", "seconds")
LACKING = {
    "no control": (CONTROL, ["entropy", "reward", "lengths", "clip"]),
    "no reward": (("reward",), ["entropy", "control", "lengths", "clip"]),
    "no entropy": (("entropy", "error", "entropy_se"), ["entropy", "control", "reward", "lengths", "clip"]),
    "no limit": (("max_completion_length", "seconds"), ["entropy", "control", "reward", "lengths", "clip"]),
    "nothing": ((*CONTROL, *MEASURED, "max_completion_length"), []),
}


@pytest.mark.parametrize("rollouts", [1, 2, 20])
@pytest.mark.parametrize("case", LACKING)
def test_what_is_missing_is_left_out(case, rollouts, tmp_path):
    lacking, charts = LACKING[case]
    write_records(tmp_path, [record(at, **dict.fromkeys(lacking)) for at in range(rollouts)])
    page = Page(write_report(tmp_path))
    assert list(page.specs) == charts and "Sample completions" not in page.seen and "Recipe" not in page.seen
    assert "measured in every rollout and not controlled" in page.seen and "nan" not in page.text.lower()


def test_a_history_of_the_first_version(tmp_path):
    records = [{name: record(at)[name] for name in history._REQUIRED} for at in range(20)]
    write_records(tmp_path, records, {"EntropyBonusActuator": [-0.5, 0.5]})
    page = Page(write_report(tmp_path))
    assert list(page.specs) == ["entropy", "control", "reward", "lengths", "clip"] and "entropy bonus" in page.seen
    assert [row["control"] for row in page.data("control")] == pytest.approx([r["control"] for r in records], abs=1e-4)


@pytest.mark.parametrize("controlled", [True, False])
def test_the_smallest_files_are_enough(controlled, tmp_path):
    write_run(tmp_path, controlled)  # the loop has only its bounds
    assert list(Page(write_report(tmp_path)).specs)[:2] == ["entropy", "control" if controlled else "reward"]


def test_numbers_that_are_none(tmp_path):
    nan, inf = float("nan"), float("inf")
    records = [
        record(0, entropy=nan, reward=inf),
        record(1, error=nan, entropy_se=nan, control=-inf),
        record(2, seconds=nan),
    ]
    page = Page(write_report(write_records(tmp_path, records, {"EntropyBonusActuator": [-inf, inf]})))
    assert [row["entropy"] is None for row in page.data("entropy")] == [True, False, False]
    assert [row["control"] is None for row in page.data("control")] == [False, True, False]
    assert "2 s per rollout" in page.seen and "nan" not in page.seen.lower()


def test_an_actuator_that_acts_rarely_in_a_long_run(tmp_path):
    acting = [
        record(at, 2_500, actuator="ClipHighActuator" if at in (1, 2) else "EntropyBonusActuator")
        for at in range(2_500)
    ]
    page = Page(write_report(write_records(tmp_path, acting)))
    assert [row["control"] for row in page.data("control-ClipHighActuator")] == [None] * 834


def test_pass_at_k_is_that_of_this_run(tmp_path):
    run = write_records(tmp_path / "run", [record(at) for at in range(4)])
    line = (run / "es_history.jsonl").read_text().splitlines(keepends=True)
    logs = {
        "checkpoint-16": (line[0], [{"step": 16, "eval_pass@2": 0.5}]),
        "checkpoint-99": ("{}\n", [{"eval_pass@2": 1.0}] * 9),
    }
    for name, (first, log) in logs.items():
        (run / name).mkdir()
        (run / name / "es_history.jsonl").write_text(first)
        (run / name / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    (run / "checkpoint-24").mkdir()
    (run / "checkpoint-24" / "trainer_state.json").write_text('{"log_his')  # a save that a kill cut off
    (curve,) = during_training(run, [record(at) for at in range(4)])
    assert (curve.name, curve.points) == ("pass@2", [(1, 0.5)])  # after the second rollout


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("es_recipe.yaml", "a: [", "es_recipe.yaml is damaged"),
        ("es_recipe.yaml", "- a", "must be a mapping of keys to values"),
        ("es_completions.jsonl", '{"rollout": 0}\n', "line 1 of .*es_completions.jsonl is not a sample completion"),
        ("es_setup.json", "{}", "es_setup.json is damaged"),
        ("es_loop.json", "{", "es_loop.json is damaged"),
        ("eval-a/passk.json", '{"pass@k": {"1": 0.5}}', "passk.json cannot be read"),
    ],
)
def test_a_damaged_file_is_one_sentence(file, content, words, tmp_path, capsys):
    write_records(tmp_path, [record(0)])
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    assert cli(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and re.search(words, line)


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert cli(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/es_history.jsonl does not exist: give the output_dir of a run that has finished a rollout\n"
    )
    write_records(tmp_path, [])
    with pytest.raises(ValueError, match="holds no rollout: give the output_dir of a run"):
        write_comparison([tmp_path], tmp_path / "page.html")
