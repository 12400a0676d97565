"""How a plan reads the accelerate config of a launch."""

import pytest
import yaml

from es_trl.planning.launch import Launch, launch_of, read_config
from es_trl.planning.model_shape import NoProjectionError


@pytest.mark.parametrize(
    ("config", "processes", "expected"),
    [
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 2}}, 4, Launch(4, "zero2")),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 2}}, None, Launch(8, "fsdp")),
        ({"distributed_type": "MULTI_GPU"}, 1, Launch(1, "none")),
        ({"distributed_type": "MULTI_GPU"}, None, Launch(8, "ddp")),
    ],
)
def test_launches(config, processes, expected, tmp_path):
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump({"num_processes": 8, **config}))
    assert launch_of(read_config(str(path)), processes) == expected


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 1}}, NoProjectionError, "zero_stage"),
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 3, "offload_optimizer_device": "cpu"}},
         NoProjectionError, "does not cover offload_optimizer_device of the"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_reshard_after_forward": False}}, NoProjectionError, "full"),
        ({"distributed_type": "MEGATRON_LM"}, NoProjectionError, "distributed_type MEGATRON_LM"),
        ({"distributed_type": "NO"}, ValueError, "must be MULTI_GPU, .* for 8 processes, got NO"),
        ({"distributed_type": "NO", "num_processes": 0}, ValueError, "`num_processes` of .* must be 1 or more, got 0"),
        ({"num_processes": 2}, ValueError, "is not an accelerate config .A `distributed_type` must be specified"),
        ({"distributed_type": "NO", "num_proceses": 2}, ValueError, "is not an accelerate config .* unknown keys"),
        ({"distributed_type": "ZERO"}, ValueError, "is not an accelerate config .'ZERO' is not a valid"),
    ],
)  # fmt: skip
def test_launches_that_are_not_known(config, error, message, tmp_path):
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump({"num_processes": 8, **config}))
    with pytest.raises(error, match=message):
        launch_of(read_config(str(path)), None)


def test_accelerate_config_that_is_missing():
    with pytest.raises(ValueError, match="no/such.yaml does not exist: give --config_file one of accelerate_configs/"):
        read_config("no/such.yaml")


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b", ""])
def test_files_that_are_no_accelerate_config(text, tmp_path):
    path = tmp_path / "accelerate.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="accelerate.yaml is not an accelerate config "):
        read_config(str(path))


def test_launches_without_a_config():
    assert [launch_of(None, count) for count in (1, 8)] == [Launch(1, "none"), Launch(8, "zero3", is_assumed=True)]
    with pytest.raises(NoProjectionError, match="the launch is not known: give --config_file"):
        launch_of(None, None)
