"""Entropy-scheduled GRPO of Qwen2.5-7B on mathematics, or of any recipe that `--config` names.

accelerate launch --config_file accelerate_configs/zero3.yaml recipes/qwen7b_es.py
"""

from es_trl.run import run_script


if __name__ == "__main__":
    run_script(__file__, reward="math")
