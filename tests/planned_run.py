"""The paper's run, as the planner sees it, for tests."""

from es_trl.planning.gpus import GPUS
from es_trl.planning.memory import Engine, Training
from es_trl.planning.model_shape import SHAPES


QWEN_7B = SHAPES["Qwen/Qwen2.5-7B"]
H100 = GPUS["h100-80"]
# recipes/qwen7b_es.yaml on 8 GPUs with ZeRO-3
SEVEN = Training(
    shape=QWEN_7B, adapter=None, weight_bytes=2, compute_bytes=2, quantized=False, sharding="zero3", num_processes=8,
    micro_batch=4, prompt=2048, completion=4096, sequences=512, checkpointing=True, attention="sdpa", reference=False,
    engine=Engine(utilization=0.4, tensor_parallel=1, max_length=6144, max_sequences=512, sleeps=True),
)  # fmt: skip
