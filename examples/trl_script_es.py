"""GRPO with TRL alone on the Countdown lab: half a minute on a CPU. `trl_script_es.py` holds its entropy."""

import torch
from es_trl import ESGRPOConfig as GRPOConfig, ESGRPOTrainer as GRPOTrainer

from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


torch.set_num_threads(1)
args = GRPOConfig(
    "runs/trl_script",
    num_generations=8,
    per_device_train_batch_size=64,
    steps_per_generation=4,  # with gradient_accumulation_steps=1: 4 updates per rollout
    max_steps=200,
    max_completion_length=16,
    learning_rate=2e-4,
    lr_scheduler_type="constant",
    top_k=0,
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    logging_steps=20,
    save_strategy="no",
    report_to="none",
    entropy_schedule={"kind": "constant", "target": 0.4},  # nats
)
trainer = GRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=countdown_dataset(2000))
trainer.train()
print("entropy, nats:", [round(log["entropy"], 2) for log in trainer.state.log_history if "entropy" in log])
