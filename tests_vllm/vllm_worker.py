"""tests/distributed_worker.py with vLLM's CPU build and DeepSpeed ZeRO-3."""

import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import cpu_engine
import cpu_server
from deepspeed.runtime.zero.parameter_offload import DeepSpeedZeRoOffload
from distributed_worker import main


# DeepSpeed leaves weights of less than 100,000 numbers whole and, where a run is resumed inside a rollout, loses count
# of an output head that is one of them ("tracing error"). Here every weight is sharded, as the head of a real model is.
mark = DeepSpeedZeRoOffload.mark_persistent_parameters
DeepSpeedZeRoOffload.mark_persistent_parameters = lambda self, below, in_all: mark(self, 0, in_all)

if json.loads(sys.argv[1])["vllm_mode"] == "colocate":
    cpu_engine.adapt()
else:
    cpu_server.adapt()
main()
