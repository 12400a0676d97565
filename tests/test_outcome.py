"""The outcome of a run, and which evaluations are of its model."""

import json

from report_runs import record, write_evaluation, write_records

from es_trl.checkpoints.digests import weights_digest
from es_trl.report.evaluations import evaluations_in, is_of_earlier
from es_trl.tracking.outcome import outcome_of


def test_an_evaluation_of_earlier_weights_is_not_that_of_the_run(tmp_path):
    run = write_records(tmp_path / "run", [record(at) for at in range(4)])
    write_evaluation(run / "eval-a")
    (run / "model.safetensors").write_bytes(b"weights")
    settings = {"weights": weights_digest(run)}
    (run / "eval-a" / "eval.json").write_text(json.dumps({"problems": "x", **settings}))
    assert list(evaluations_in(run)) == ["a"]
    (run / "model.safetensors").write_bytes(b"others!")  # trained again
    assert evaluations_in(run) == {} and is_of_earlier(run / "eval-a")
    (run / "adapter_config.json").write_text("{}")  # what an adapter adapts may be elsewhere
    assert list(evaluations_in(run)) == ["a"]


def test_the_outcome_of_a_short_run():
    known = outcome_of([record(at, stage="stable", error=0.1 * at, reward=float(at)) for at in range(6)])
    assert (known.window, known.reward) == (3, (1.0, 4.0))
    assert (known.errors["stable"].left_out, known.errors["stable"].rollouts) == (3, 3)
    (alone,) = [outcome_of([record(0, stage="stable", error=0.1, reward=1.0)])]
    assert (alone.window, alone.reward, alone.errors["stable"].rollouts) == (1, (1.0, 1.0), 1)
