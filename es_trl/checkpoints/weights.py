"""Weights that are all loaded, and the weights of a reference model that moves."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file


def held(parameter: torch.Tensor) -> torch.Tensor:
    """Return the part of a parameter that this process holds: its shard under ZeRO-3 and FSDP2, else all of it."""
    parameter = getattr(parameter, "ds_tensor", parameter)
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def not_loaded(model: torch.nn.Module, load_result: Any) -> list[str]:
    """
    Return the parameters that `load_state_dict` left as they were, and the keys that it did not know.

    A missing name that shares its memory with a loaded one, as tied weights do, is not among them.
    """
    state = model.state_dict(keep_vars=True)
    missing = set(load_result.missing_keys)
    loaded = {value.data_ptr() for name, value in state.items() if name not in missing}
    left = [name for name in sorted(missing) if name not in state or state[name].data_ptr() not in loaded]
    return left + sorted(load_result.unexpected_keys)


def load_converted(model: torch.nn.Module, checkpoint: Path) -> None:
    """
    Load a checkpoint whose parameters `save_pretrained` has converted, or raise where one is on one side only.

    transformers converts mixtures of experts and others on saving, and only `from_pretrained` converts them back.
    """
    # every shorter type fits into this one, and none of the checkpoint's is rounded
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in model.parameters()) else torch.float32
    loaded, info = type(model).from_pretrained(checkpoint, config=model.config, dtype=dtype, output_loading_info=True)
    left = sorted({*info["missing_keys"], *info["unexpected_keys"], *map(str, info["mismatched_keys"])})
    if left:
        raise ValueError(unloaded(checkpoint, left))
    model.load_state_dict(loaded.state_dict())


def load_adapter(model: torch.nn.Module, checkpoint: Path) -> None:
    """
    Load the active adapter of a model, which transformers leaves out where the checkpoint holds others beside it.

    A parameter on one side only, or that does not take the value that the checkpoint has, is refused.
    """
    from peft import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict

    name = model.active_adapters[0]
    folder = checkpoint / name if (checkpoint / name).is_dir() else checkpoint
    saved = load_peft_weights(str(folder), device="cpu")
    set_peft_model_state_dict(model, saved, adapter_name=name)
    own = get_peft_model_state_dict(model, adapter_name=name)
    differ = [key for key in saved if key in own and not torch.equal(saved[key].to(own[key].dtype), own[key].cpu())]
    left = sorted({*(saved.keys() ^ own.keys()), *differ})
    if left:
        raise ValueError(unloaded(checkpoint, left))


def unloaded(checkpoint: Path, names: list[str]) -> str:
    """Return the message for a checkpoint that is not of this model."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"{checkpoint} does not hold the weights of this model ({shown} cannot be matched): resume with the model, the "
        "adapter and the version of transformers that wrote it"
    )


def weights_are_finite(model: torch.nn.Module, accelerator: Accelerator) -> bool:
    """Return whether every weight is a number, on all processes; each looks at the shards that it holds."""
    broken = sum(not held(parameter).isfinite().all().item() for parameter in model.parameters())
    return accelerator.reduce(torch.tensor(broken, device=accelerator.device), reduction="sum").item() == 0


def save_reference(model: torch.nn.Module, checkpoint: Path, process: int) -> None:
    """Write the part of a reference model that this process holds; where all hold the same, the first one writes it."""
    path = _reference_file(model, checkpoint, process)
    if path is not None:
        save_file({name: held(value).detach().cpu().contiguous() for name, value in model.named_parameters()}, path)


def load_reference(model: torch.nn.Module, checkpoint: Path, process: int) -> None:
    """Load what [`save_reference`] wrote."""
    path = _reference_file(model, checkpoint, process) or _reference_file(model, checkpoint, 0)
    if not path.exists():
        raise ValueError(
            f"`sync_ref_model` is set and {checkpoint} holds no reference model: resume from a checkpoint of a run "
            "with sync_ref_model, or set it to false"
        )
    saved = load_file(path)
    with torch.no_grad():
        for name, value in model.named_parameters():
            held(value).copy_(saved[name])


def _reference_file(model: torch.nn.Module, checkpoint: Path, process: int) -> Path | None:
    is_sharded = any(held(value).numel() < getattr(value, "ds_numel", value.numel()) for value in model.parameters())
    return checkpoint / f"es_reference_{process}.safetensors" if is_sharded or process == 0 else None
