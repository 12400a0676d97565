"""The run that the control benchmarks share: the lab's geometry, nothing saved, nothing logged."""

import shutil
import tempfile
from typing import Any

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
    Train one run with `changes` of its configuration.

    Returns:
        Its trainer, and what it broke with, or `None`.
    """
    geometry = {"learning_rate": 1e-4, "steps_per_generation": 8, "per_device_train_batch_size": 64}
    changes = {**geometry, "epsilon_high": 0.28, **changes}
    folder = tempfile.mkdtemp()
    args = ESGRPOConfig(
        output_dir=folder,
        num_generations=8,
        max_completion_length=16,
        max_steps=rollouts * changes["steps_per_generation"],
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
    except ValueError as error:  # a policy that broke is a result
        failure = str(error)
    shutil.rmtree(folder)
    return trainer, failure


def rounded(value: float | None) -> float | None:
    """Five digits, as the committed data have."""
    return None if value is None else float(f"{value:.5g}")
