"""A digest of the weights in a folder, by which an evaluation knows the model that it is of."""

import hashlib
from pathlib import Path
from typing import Any


WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*model*.bin", "*model*.bin.index.json", "*.gguf")
_BLOCK = 1 << 20  # bytes
_BLOCKS = 16  # of each file, evenly spread, that a digest reads


def read_weights(read: Any, folder: Path) -> bool:
    """Let the hash `read` read parts of the files of weights in a folder, and return whether there are any."""
    paths = sorted({path for pattern in (*WEIGHTS, "adapter_model*") for path in folder.glob(pattern)})
    for path in paths:
        size = path.stat().st_size
        read.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            for place in sorted({size * block // _BLOCKS for block in range(_BLOCKS)}):
                file.seek(place)
                read.update(file.read(_BLOCK))
    return bool(paths)


def weights_digest(folder: Path) -> str | None:
    """Return the digest of the weights in a folder, 16 characters; `None` where it has none, or only an adapter's."""
    read = hashlib.sha256()
    if (folder / "adapter_config.json").exists() or not read_weights(read, folder):
        return None
    return read.hexdigest()[:16]
