"""The paper's run, as the planner sees it, and the plans of recipes, for tests."""

from launching import ROOT

from es_trl.__main__ import main as cli
from es_trl.planning.launch import GPUS
from es_trl.planning.model_shape import shape_of
from es_trl.planning.workload import Adapter, Engine, Workload


QWEN_7B = shape_of("Qwen/Qwen2.5-7B")
SHAPES = [QWEN_7B, shape_of("Qwen/Qwen2.5-1.5B"), shape_of("BytedTsinghua-SIA/DAPO-Qwen-32B")]
H100 = GPUS["h100-80"]
# recipes/qwen7b_es.yaml on 8 GPUs with ZeRO-3
SEVEN = Workload(
    shape=QWEN_7B, adapter=None, weight_bytes=2, compute_bytes=2, quantized=False, sharding="zero3", num_processes=8,
    micro_batch=4, prompt=2048, completion=4096, sequences=512, checkpointing=True, attention="sdpa", reference=False,
    engine=Engine(utilization=0.4, tensor_parallel=1, max_length=6144, max_sequences=512, sleeps=True),
)  # fmt: skip
LORA = Adapter(32, tuple(QWEN_7B.linears))


def planned(capsys, recipe, *options):
    """The plan of a shipped recipe, with long lines in one piece."""
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 0, capsys.readouterr().err
    return capsys.readouterr().out.replace("\n    ", " ")


def refused(capsys, recipe, *options):
    """The one line with which the plan of a shipped recipe is refused."""
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    return printed.err
