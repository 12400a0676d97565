"""Entropy-scheduled GRPO of SmolLM2-135M-Instruct on a CPU: `accelerate launch recipes/smollm_es.py`.

`python -m es_trl.lab.smollm models/smollm2` makes the model and the prompts.
"""

from es_trl.run import run_script


if __name__ == "__main__":
    run_script(__file__, reward="math")
