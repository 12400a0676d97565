import json
from dataclasses import asdict

import pytest

from es_trl.common.writing import write_atomically
from es_trl.tracking.history import HISTORY_FILE, History, RolloutRecord, read_history


def record(rollout, **changes):
    return RolloutRecord(rollout=rollout, global_step=4 * rollout, **changes)


def test_lines_are_on_the_disk_as_they_happen(tmp_path):
    history = History(tmp_path / "run", writes=True)
    history.begin()
    for rollout in range(3):
        history.append(record(rollout, entropy=0.5))
        assert len(history.path.read_text().splitlines()) == rollout + 1
    assert read_history(history.path) == history.records


def test_only_one_process_writes(tmp_path):
    history = History(tmp_path / "run", writes=False)
    history.begin()
    history.append(record(0))
    assert history.records[0]["rollout"] == 0 and not history.path.exists()


def test_resume_keeps_the_first_records(tmp_path):
    before = History(tmp_path, writes=True)
    before.begin()
    for rollout in range(4):
        before.append(record(rollout))
    with open(before.path, "a") as file:
        file.write('{"rollout": 4, "glo')  # the process died while it wrote
    after = History(tmp_path, writes=True)
    after.begin(before.path, keep=2)
    after.append(record(2, reward=0.25))
    assert [line["reward"] for line in read_history(after.path)] == [None, None, 0.25]


def test_history_that_is_too_short_is_refused(tmp_path):
    path = tmp_path / "es_history.jsonl"
    path.write_text(json.dumps(vars(record(0))) + "\n")
    with pytest.raises(ValueError, match="3 rollouts into its run and .* holds 1 of them"):
        History(tmp_path, writes=True).begin(path, keep=3)


def test_broken_line_is_refused(tmp_path):
    path = tmp_path / "es_history.jsonl"
    good = json.dumps(vars(record(0))) + "\n"
    path.write_text(good + "nonsense\n" + good)
    with pytest.raises(ValueError, match="line 2 of .* is not a JSON object"):
        read_history(path)
    for foreign in ("{}", "[1]", '{"rollout": 0}'):
        path.write_text(foreign + "\n")
        with pytest.raises(ValueError, match="line 1 of .* is not the record of a rollout"):
            read_history(path)


def test_what_is_no_number_is_null(tmp_path):
    history = History(tmp_path, writes=True)
    history.begin()
    history.append(record(0, reward=float("nan"), entropy=float("inf")))
    line = json.loads(history.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (line["reward"], line["entropy"]) == (None, None)


def test_write_is_atomic(tmp_path):
    path = tmp_path / "state.json"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entropy", "x"),
        ("rollout", None),
        ("events", 3),
        ("events", [{"kind": "alarm"}]),
        ("settings", [1]),
        ("seconds", "1"),
    ],
)
def test_a_field_of_another_type_is_refused(field, value, tmp_path):
    record = {**asdict(RolloutRecord(0, 0, entropy=1, settings={"beta": 1})), field: value}
    path = tmp_path / HISTORY_FILE
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(ValueError, match=rf"line 1 of .* has .* for `{field}`, which it cannot be"):
        read_history(path)
