"""The check that all weights are loaded, and the weights of a reference model that changes."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file


def held(parameter: torch.Tensor) -> torch.Tensor:
    """Return the part of a parameter that this process holds: a shard with ZeRO-3 and FSDP2, otherwise all of it."""
    parameter = getattr(parameter, "ds_tensor", parameter)
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def not_loaded(model: torch.nn.Module, load_result: Any) -> list[str]:
    """
    Return the names that `load_state_dict` could not match: parameters that it did not load, and unknown keys.

    A missing parameter that shares its memory with a loaded one is left out, because tied weights do so.
    """
    state = model.state_dict(keep_vars=True)
    missing = set(load_result.missing_keys)
    loaded = {value.data_ptr() for name, value in state.items() if name not in missing}
    left = [name for name in sorted(missing) if name not in state or state[name].data_ptr() not in loaded]
    return left + sorted(load_result.unexpected_keys)


def load_converted(model: torch.nn.Module, checkpoint: Path) -> None:
    """
    Load a checkpoint whose parameters `save_pretrained` has converted. Raise unless all parameters match.

    transformers converts some models on saving, for example mixtures of experts. Only `from_pretrained` converts them
    back.
    """
    # A type into which every value of the checkpoint fits without rounding
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in model.parameters()) else torch.float32
    loaded, info = type(model).from_pretrained(checkpoint, config=model.config, dtype=dtype, output_loading_info=True)
    left = sorted({*info["missing_keys"], *info["unexpected_keys"], *map(str, info["mismatched_keys"])})
    if left:
        raise ValueError(unloaded(checkpoint, left))
    model.load_state_dict(loaded.state_dict())


def load_adapter(model: torch.nn.Module, checkpoint: Path) -> None:
    """
    Load the active adapter of a model. transformers does not load it if the checkpoint holds several adapters.

    Raises:
        ValueError: if the names of the parameters differ, or if one does not take the checkpoint's value.
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
    """Return the error message for a checkpoint that does not fit the model."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"{checkpoint} does not hold the weights of this model ({shown} cannot be matched): resume with the model, the "
        "adapter and the version of transformers that wrote it"
    )


def weights_are_finite(model: torch.nn.Module, accelerator: Accelerator) -> bool:
    """Return whether every weight is finite, on all processes. Each process checks its own shards."""
    broken = sum(not held(parameter).isfinite().all().item() for parameter in model.parameters())
    return accelerator.reduce(torch.tensor(broken, device=accelerator.device), reduction="sum").item() == 0


def save_reference(model: torch.nn.Module, checkpoint: Path, process: int) -> None:
    """Write the part of a reference model that this process holds. Without sharding only process 0 writes."""
    path = _reference_file(model, checkpoint, process)
    if path is not None:
        save_file({name: held(value).detach().cpu().contiguous() for name, value in model.named_parameters()}, path)


def load_reference(model: torch.nn.Module, checkpoint: Path, process: int) -> None:
    """Load the part of a reference model that [`save_reference`] wrote."""
    path = _reference_file(model, checkpoint, process) or _reference_file(model, checkpoint, 0)
    if not path.exists():
        raise ValueError(
            f"`sync_ref_model` is true but {checkpoint} holds no reference model: resume from a checkpoint of a run "
            "with sync_ref_model, or set it to false"
        )
    saved = load_file(path)
    with torch.no_grad():
        for name, value in model.named_parameters():
            held(value).copy_(saved[name])


def _reference_file(model: torch.nn.Module, checkpoint: Path, process: int) -> Path | None:
    is_sharded = any(held(value).numel() < getattr(value, "ds_numel", value.numel()) for value in model.parameters())
    return checkpoint / f"es_reference_{process}.safetensors" if is_sharded or process == 0 else None
