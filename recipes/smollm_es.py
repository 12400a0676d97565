"""Entropy-scheduled GRPO of SmolLM2-135M-Instruct on arithmetic in words, on a CPU.

python -m es_trl.lab.smollm models/smollm2
accelerate launch recipes/smollm_es.py
"""

from es_trl.run import run_script


if __name__ == "__main__":
    run_script(__file__, reward="math")
