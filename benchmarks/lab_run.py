"""Helpers of the lab's benchmarks: one run that saves and logs nothing, and many such runs in parallel."""

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_report import load

from es_trl import ESGRPOConfig, ESGRPOTrainer, RolloutCallback
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


def train_on_lab(
    rollouts: int,
    seed: int,
    changes: dict[str, Any],
    callbacks: list[RolloutCallback],
    num_numbers: tuple[int, ...] = (3,),
    model: str = BASE_MODEL,
) -> tuple[ESGRPOTrainer, str | None]:
    """
    Train one run on the lab.

    Args:
        rollouts (`int`):
            Length of the run.
        seed (`int`):
            Seed of the run and of its prompts.
        changes (`dict[str, Any]`):
            Fields of the configuration that differ from the defaults below.
        callbacks (`list[RolloutCallback]`):
            Callbacks of the trainer.
        num_numbers (`tuple[int, ...]`, *optional*, defaults to `(3,)`):
            How many numbers a prompt may have.
        model (`str`, *optional*, defaults to `BASE_MODEL`):
            Folder of the base model.

    Returns:
        The trainer, and the error that broke the run or `None`.
    """
    batch = {"steps_per_generation": 8, "per_device_train_batch_size": 64, "num_generations": 8}
    geometry = {"learning_rate": 1e-4, **batch}
    clip = {} if "method" in changes else {"epsilon_high": 0.28}  # a method sets its own upper clip
    changes = {**geometry, **clip, **changes}
    folder = tempfile.mkdtemp()
    args = ESGRPOConfig(
        output_dir=folder,
        max_completion_length=16,
        max_steps=rollouts * changes["steps_per_generation"] * changes.get("num_iterations", 1),
        gradient_accumulation_steps=1,
        lr_scheduler_type="constant",
        top_k=0,
        seed=seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        model_init_kwargs={"dtype": "float32"},
        save_strategy="no",
        logging_steps=10_000,
        report_to="none",
        disable_tqdm=True,
        **changes,
    )
    dataset = countdown_dataset(20_000, seed=seed, num_numbers=num_numbers)
    trainer = ESGRPOTrainer(model, countdown_reward, args, train_dataset=dataset, callbacks=callbacks)
    failure = None
    try:
        trainer.train()
    except ValueError as error:  # a broken policy is a result too
        failure = str(error)
    shutil.rmtree(folder)
    return trainer, failure


def run_missing(
    run: Callable[[Any], dict[str, Any]],
    jobs: dict[tuple, Any],
    data: Path,
    key: tuple[str, ...],
    workers: int,
) -> None:
    """
    Run the jobs that are not in `data` yet, each in its own process, and append each run when it ends.

    Args:
        run (`Callable`):
            Function from a job to the record of its run.
        jobs (`dict[tuple, Any]`):
            Jobs by the key of their run in `data`.
        data (`Path`):
            File with one JSON object per run.
        key (`tuple[str, ...]`):
            Fields of a run that form its key. All but the last are printed.
        workers (`int`):
            Number of parallel runs, which use one core each.
    """
    done = load(data, key)
    missing = [job for name, job in jobs.items() if name not in done]
    data.parent.mkdir(parents=True, exist_ok=True)
    # no fork of this process, which may have begun to use a GPU
    with multiprocessing.get_context("forkserver").Pool(workers, maxtasksperchild=1) as pool:
        for number, result in enumerate(pool.imap_unordered(run, missing), start=1):
            with open(data, "a") as file:
                file.write(json.dumps(result) + "\n")
            print(f"{number}/{len(missing)}", *[result[name] for name in key[:-1]], flush=True)


def rounded(value: float | None) -> float | None:
    """Round to five digits, as in the committed data."""
    return None if value is None else float(f"{value:.5g}")
