"""A checkpoint inside a rollout that vLLM sampled."""

from conftest import EXACT
from lab_runs import BONUS, without_seconds
from safetensors.torch import load_file


RUN = {"max_steps": 16, "save_strategy": "steps", "save_steps": 2, "learning_rate": 5e-3, **BONUS}


def test_the_rollout_under_way_is_exact_and_the_run_goes_on(vllm_trainer, tmp_path):
    whole = vllm_trainer(**RUN)
    whole.train()
    resumed = vllm_trainer(**{**RUN, "output_dir": str(tmp_path / "resumed")})
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))  # in the middle of rollout 1
    records, expected = (without_seconds(trainer.history.records) for trainer in (resumed, whole))
    assert len(records) == len(expected) == 4
    one, other = (load_file(tmp_path / run / "checkpoint-8" / "model.safetensors") for run in ("run", "resumed"))
    assert all((one[name] == other[name]).all() for name in one) and one.keys() == other.keys()
    # so are the later ones on a CPU: the engine draws from the process's generator, whose state is in the checkpoint
    assert records == expected
    assert max(record["logp_difference"] for record in records) < EXACT
