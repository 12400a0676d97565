"""A launch that is not what its configuration says is refused with what to set."""

import json
import sys
from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType
from lab_runs import LAB_ARGS
from launching import ROOT, command, free_port, run, shipped, written

from es_trl.config.collectives import leave_out_compiled_collective
from es_trl.trainer.launch import check_launch, check_sharding


ONE = SimpleNamespace(world_size=1, distributed_state=SimpleNamespace(distributed_type=DistributedType.NO))
ON_CPU = SimpleNamespace(distributed_type=DistributedType.MULTI_CPU)
TWO_ON_CPU = SimpleNamespace(world_size=2, distributed_state=ON_CPU)
LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True"}


def test_what_is_launched_as_asked_passes():
    check_launch(ONE, {})
    check_launch(ONE, {"MASTER_ADDR": "somewhere"})  # a plain `python`, in a shell of a cluster
    check_launch(ONE, LAUNCHED)
    check_launch(TWO_ON_CPU, {**LAUNCHED, "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"})


def test_tasks_of_slurm_that_know_nothing_of_each_other_are_refused():
    step = {"SLURM_STEP_NUM_TASKS": "4"}
    with pytest.raises(ValueError, match="srun started 4 processes that are not connected"):
        check_launch(ONE, step)
    check_launch(TWO_ON_CPU, {**step, "WORLD_SIZE": "2", "LOCAL_RANK": "0"})
    check_launch(ONE, {"SLURM_STEP_NUM_TASKS": "1"})


def test_master_addr_where_one_process_was_started_is_refused():
    with pytest.raises(ValueError, match="MASTER_ADDR is set as for several.*for one process, unset MASTER_ADDR"):
        check_launch(ONE, {**LAUNCHED, "MASTER_ADDR": "node0", "WORLD_SIZE": "8"})


def test_fsdp_1_is_refused():
    with pytest.raises(ValueError, match="set `fsdp_version: 2`"):
        check_launch(TWO_ON_CPU, {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"})


def trainer_of(parameters, distributed_type, processes=2, precision="no"):
    model = SimpleNamespace(parameters=lambda: parameters)
    plugin = SimpleNamespace(zero_stage=3)
    accelerator = SimpleNamespace(
        distributed_type=distributed_type, num_processes=processes, deepspeed_plugin=plugin, mixed_precision=precision
    )
    accelerator.state = SimpleNamespace(fsdp_plugin=SimpleNamespace(fsdp_version=2, cpu_ram_efficient_loading=True))
    args = SimpleNamespace(bf16=False, fp16=False, deepspeed=None, fsdp=[])
    return SimpleNamespace(accelerator=accelerator, args=args, model_wrapped=model, ref_model=None)


class Parameter(SimpleNamespace):
    def numel(self):
        return self.own


def test_what_shards_nothing_is_refused():
    whole = [Parameter(own=60), Parameter(own=40)]
    shard = Parameter(own=0, ds_numel=60, ds_tensor=Parameter(own=30))
    deepspeed, fsdp = DistributedType.DEEPSPEED, DistributedType.FSDP
    said = check_sharding(trainer_of([shard], deepspeed), {"ACCELERATE_USE_DEEPSPEED": "true"})
    assert said == "DeepSpeed ZeRO-3 on 2 processes; this process holds 30 of 60 parameters"
    said = check_sharding(trainer_of(whole, fsdp, processes=1), {})
    assert said.startswith("FSDP2 on 1 process; this process holds 100")
    for kind in (deepspeed, fsdp):
        with pytest.raises(ValueError, match="each process holds all 100 parameters, so nothing is sharded"):
            check_sharding(trainer_of(whole, kind), {})


def test_the_precision_of_the_launch_takes_the_place_of_the_recipes():
    trainer = trainer_of([Parameter(own=1)], DistributedType.MULTI_CPU, precision="bf16")
    assert "so the run trains in bf16" in check_sharding(trainer, {})
    trainer.args.bf16 = True
    assert "warning" not in check_sharding(trainer, {})


def test_a_missing_engine_is_refused():
    trainer = trainer_of([Parameter(own=1)], DistributedType.MULTI_CPU)
    for flag, name in (("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"), ("ACCELERATE_USE_FSDP", "FSDP")):
        with pytest.raises(ValueError, match=f"asks for {name} but the run has DDP"):
            check_sharding(trainer, {flag: "true"})
    trainer.args.fsdp = ["full_shard"]  # in the recipe, of which the environment knows nothing
    with pytest.raises(ValueError, match="asks for FSDP but the run has DDP"):
        check_sharding(trainer, {})


def test_fsdp_1_of_a_recipe_is_refused():
    trainer = trainer_of([Parameter(own=1)], DistributedType.FSDP, processes=1)
    trainer.accelerator.state.fsdp_plugin.fsdp_version = 1
    with pytest.raises(ValueError, match="FSDP 1 is not supported"):
        check_sharding(trainer, {})


@pytest.mark.slow
def test_the_compiled_collective_is_left_out_on_a_cpu():
    ops = pytest.importorskip("deepspeed.ops")
    before = ops.__compatible_ops__["deepspeed_shm_comm"]
    try:
        ops.__compatible_ops__["deepspeed_shm_comm"] = True
        leave_out_compiled_collective({})
        assert ops.__compatible_ops__["deepspeed_shm_comm"] is True
        leave_out_compiled_collective({"ACCELERATE_USE_DEEPSPEED": "true"})
        assert ops.__compatible_ops__["deepspeed_shm_comm"] is False
    finally:
        ops.__compatible_ops__["deepspeed_shm_comm"] = before


BROADCASTS = """
import sys
import torch
from es_trl import ESGRPOConfig
ESGRPOConfig(sys.argv[1], use_cpu=True, bf16=False, report_to="none")
for _ in range(50):
    torch.distributed.broadcast_object_list([None], src=0)
"""


@pytest.mark.slow
def test_a_process_may_end_right_after_its_last_collective(tmp_path):
    """Without the wait at its end, gloo's threads abort one of these processes nearly always."""
    script = tmp_path / "broadcasts.py"
    script.write_text(BROADCASTS)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "8", "--master_port", str(free_port())]
    done = run([sys.executable, *launch, str(script), str(tmp_path)])
    assert done.returncode == 0, done.stdout[-3000:]


REFUSED = {
    "several processes that are one": (
        shipped("ddp", distributed_type="MULTI_CPU", num_processes=2, mixed_precision="no", use_cpu=True),
        "accelerate started one process but MASTER_ADDR is set as for several",
    ),
    "FSDP that is DDP": (
        shipped("fsdp2", num_processes=2, mixed_precision="no", use_cpu=True),
        "asks for FSDP but accelerate trains with DDP on a CPU",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_accelerate_does_something_else_without_a_word(name, tmp_path):
    config, sentence = REFUSED[name]
    done = run(command(written(tmp_path, config), "recipes/countdown_es.py", "--output_dir", str(tmp_path / "run")))
    assert done.returncode == 1 and done.stdout.count(sentence) == 1, done.stdout[-3000:]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_several_processes_report_a_refusal_once(tmp_path):
    config = written(tmp_path, shipped("ddp", num_processes=2, mixed_precision="no", use_cpu=True))
    # words before the script go to accelerate: a launch by module, as people make it
    start, script = (
        command(config, "recipes/countdown_es.yaml", "--learning_rate", "-1")[:-3],
        "recipes/countdown_es.yaml",
    )
    done = run(
        [*start, "-m", "es_trl", "train", script, "--learning_rate", "-1", "--output_dir", str(tmp_path / "run")]
    )
    assert done.returncode == 1  # accelerate's own
    assert done.stdout.count("error: `learning_rate` must be a finite number >= 0, got -1") == 1, done.stdout[-3000:]
    assert "exitcode  : 2" in done.stdout and "in parse" not in done.stdout


@pytest.mark.slow
def test_a_reference_model_without_weights_is_refused(tmp_path):
    config = shipped("fsdp2", num_processes=2, mixed_precision="no")
    config["fsdp_config"]["fsdp_cpu_ram_efficient_loading"] = True
    options = {**LAB_ARGS, "use_cpu": False, "beta": 0.1, "per_device_train_batch_size": 2, "by_rule": True}
    options["output_dir"] = str(tmp_path)
    done = run(command(written(tmp_path, config), "tests/distributed_worker.py", json.dumps(options)))
    assert done.returncode == 1
    assert "`beta` is 0.1 but FSDP loads the weights on one process only" in done.stdout, done.stdout[-3000:]


def test_every_configuration_is_documented():
    text = (ROOT / "docs" / "guides" / "distributed.md").read_text()
    shipped = {path.name for path in (ROOT / "accelerate_configs").glob("*.yaml")}
    assert len(shipped) > 3 and {name for name in shipped if f"accelerate_configs/{name}" not in text} == set()
