"""Folders of runs that were never made, for tests of their pages."""

import json
import math
from pathlib import Path

import yaml

from es_trl.tracking.completions import samples_of
from es_trl.tracking.history import RolloutRecord


SECRET = "hf_" + "a" * 34
HOSTILE = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\"> &amp; <!-- ]]>",
    "a\x00b\ud800c \udfff",
    "😀 \u202eright to left \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
]


def write_records(folder: Path, records: list[dict], bounds: dict | None = None) -> Path:
    """Write a history, and with `bounds` the loop of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "es_history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if bounds is not None:
        parts = [f"{name}(low={low}, high={high})" for name, (low, high) in bounds.items()]
        named = {
            "method": "es_pid",
            "schedule": "StableAnnealSchedule(...)",
            "controller": "SelfTunedPIDController(...)",
        }
        loop = {**named, "actuators": parts, "bounds": bounds}
        (folder / "es_loop.json").write_text(json.dumps(loop))
    return folder


def record(rollout: int, of: int = 40, **others) -> dict:
    """The record of a rollout of a controlled run, whose last quarter anneals."""
    onset = of * 3 // 4
    target = 0.4 if rollout < onset else round(0.4 - 0.3 * (rollout - onset) / (of - onset), 4)
    entropy = target + 0.02 * math.sin(rollout)
    known = {"run": 1, "stage": "stable" if rollout < onset else "anneal", "target": target, "entropy": entropy,
             "entropy_se": 0.01, "error": target - entropy, "control": 0.3 * math.sin(rollout / 5),
             "settings": {"entropy_bonus": 0.1}, "saturated": rollout % 10 == 0, "events": [], "reward": rollout / of,
             "actuator": "EntropyBonusActuator",
             "clip_high_fraction": 0.01, "num_generations": 8, "max_completion_length": 64,
             "completion_tokens": 30.0 + 5 * math.sin(rollout / 3), "seconds": 2.0}  # fmt: skip
    return {**vars(RolloutRecord(rollout, 8 * rollout)), **known, **others}


def everything(folder: Path, rollouts: int = 40) -> Path:
    """A run with all that a page can show: a chain, events, stages, evaluations, hostile samples, a recipe."""
    clip, switch = rollouts // 4, rollouts // 2
    records = []
    for rollout in range(rollouts):
        by_clip = {
            "actuator": "ClipHighActuator",
            "control": 0.2 + 0.2 * rollout / clip,
            "settings": {"epsilon_high": 0.3},
        }
        stage = (
            {"num_generations": 32, "max_completion_length": 128, "curriculum_stage": 1} if rollout >= switch else {}
        )
        records.append(
            record(rollout, rollouts, truncated_completions=0.1, **(by_clip if rollout < clip else {}), **stage)
        )
    told = {clip: ("hand_over", "ClipHighActuator is at its bound (0.4): EntropyBonusActuator takes over"),
            switch: ("switch", f"stage 1 begins: <b>harder</b> prompts {SECRET}"),
            rollouts - 2: ("alarm", "entropy has collapsed")}  # fmt: skip
    for rollout, (kind, message) in told.items():
        records[rollout]["events"] = [{"kind": kind, "message": message}]
    records[1] |= {"entropy": None, "error": None, "reward": None, "entropy_se": None}
    write_records(folder, records, {"ClipHighActuator": [0.2, 0.4], "EntropyBonusActuator": [-0.5, 0.5]})
    samples = []
    for rollout in (0, switch, rollouts - 1):
        rewards = {"math": [1.0, 0.0] * 4, "length": [0.5] * 8}
        columns = {"prompt": ["what is 1+1?"] * 8, "completion": HOSTILE * 2, "rewards": rewards,
                   "advantages": [1.0, -1.0] * 4}  # fmt: skip
        samples += samples_of(rollout, 4, columns, [(12, False), (64, True)] * 4)
    (folder / "es_completions.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    recipe = {
        "model_name_or_path": "Qwen/Qwen2.5-0.5B",
        "learning_rate": 1e-6,
        "hub_token": SECRET,
        "run_name": f"<b>{SECRET}</b>",
    }
    (folder / "es_recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_evaluation(folder / "eval-gsm8k")
    log = [{"step": 8 * at, "eval_pass@1": 0.2 + at / 100, "eval_hard_pass@8": 0.5} for at in range(0, rollouts, 8)]
    checkpoint = folder / f"checkpoint-{8 * rollouts}"
    checkpoint.mkdir()
    (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    return folder


def write_evaluation(folder: Path, better: float = 0.0) -> None:
    """An evaluation of 64 problems with 16 completions each."""
    folder.mkdir(parents=True)
    values = {str(k): 1 - (0.7 - better) ** (k**0.5) for k in (1, 2, 4, 8, 16)}
    estimates = {
        k: {"value": value, "low": value - 0.05, "high": min(1.0, value + 0.05)} for k, value in values.items()
    }
    content = {"model": "Qwen/Qwen2.5-0.5B", "data": "gsm8k.jsonl", "problems": 64, "n": 16, "pass@k": estimates}
    (folder / "passk.json").write_text(json.dumps(content))
