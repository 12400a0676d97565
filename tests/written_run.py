"""The files of a run that was never made, for tests of its figure."""

import json

from es_trl.tracking.history import RolloutRecord


def write_run(folder, controlled):
    records = []
    for rollout in range(40):
        record = vars(RolloutRecord(rollout, 8 * rollout, entropy=0.3, reward=rollout / 40, completion_tokens=6.0))
        if controlled:
            stage = "anneal" if rollout >= 30 else "stable"
            own = {"stage": stage, "target": 0.4, "error": 0.1, "control": 0.2, "settings": {"entropy_bonus": 0.2}}
            record = {**record, **own, "saturated": rollout == 0, "actuator": "EntropyBonusActuator"}
        records.append(record)
    (folder / "es_history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if controlled:
        (folder / "es_loop.json").write_text(json.dumps({"bounds": {"EntropyBonusActuator": [-0.5, 0.5]}}))
    return records
