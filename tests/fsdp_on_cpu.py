"""Let accelerate build FSDP2 on CPU processes over gloo, which it does only for accelerators.

Imported by workers that are launched with FSDP, before anything asks accelerate for its state. The launch and the
training configuration leave `use_cpu` false.
"""

import os

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType


def _stay_on_cpu(self):
    self.device = torch.device("cpu")


if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = _stay_on_cpu
    PartialState.default_device = property(lambda self: torch.device("cpu"))
