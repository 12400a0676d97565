"""es_trl: entropy control in reinforcement learning of language models, on TRL's `GRPOTrainer`."""

__version__ = "0.1.0"
