"""Entropy-scheduled GRPO on the Countdown lab, on a CPU: `accelerate launch recipes/countdown_es.py`."""

import torch

from es_trl.run import run_script


if __name__ == "__main__":
    torch.set_num_threads(1)  # more threads make a model this small slower
    run_script(__file__, reward="countdown")
