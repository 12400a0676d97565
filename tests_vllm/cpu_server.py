"""A vLLM server on a CPU, and TRL's weight sync with it.

TRL sends weights to a server over NCCL, and so between GPUs alone. Here each sync writes them as a checkpoint into a
folder that the server sees, `VLLM_WEIGHTS_FOLDER`, and has its workers load it. What TRL does before that, gathering
and naming every weight, is TRL's own, and so are the requests for completions.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests
from cpu_engine import CACHE_BYTES
from launching import free_port
from safetensors.torch import save_file
from trl.generation.vllm_client import VLLMClient


def adapt():
    """Before the first trainer is built."""
    VLLMClient.init_communicator = _share_folder
    VLLMClient.update_named_params = _write_and_reload
    VLLMClient.close_communicator = lambda client: None


def _share_folder(client, device=0):
    model = client._get(f"{client.base_url}/v1/models")["data"][0]["root"]
    shutil.copytree(model, os.environ["VLLM_WEIGHTS_FOLDER"], dirs_exist_ok=True)


def _write_and_reload(client, metadata, named_params):
    weights = {name: weight.detach().cpu().clone() for name, weight in named_params}
    assert [(name, list(weight.shape)) for name, weight in weights.items()] == [(n, shape) for n, _, shape in metadata]
    folder = os.environ["VLLM_WEIGHTS_FOLDER"]
    save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
    call = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
    client._post(f"{client.base_url}/collective_rpc", json=call)


class Server:
    """
    A vLLM server process.

    Args:
        model (`Path`):
            Folder of the model.
        max_model_len (`int`):
            Tokens of prompt and completion together.
        log (`Path`):
            File for what it prints.
    """

    def __init__(self, model, max_model_len, log):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        # `vllm serve` looks for a package of the name vllm, which the CPU build has not
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", str(max_model_len)]
        command += ["--dtype", "float32", "--enforce-eager", "--logprobs-mode", "processed_logprobs"]
        command += ["--max-logprobs", "-1", "--kv-cache-memory-bytes", str(CACHE_BYTES)]
        self._log = log
        with open(log, "w") as file:
            environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1"}
            self._process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)

    def wait(self, tries=240):
        """Until it answers, for a second a try."""
        for _ in range(tries):
            if self._process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/health", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(1)
        raise RuntimeError(f"the vLLM server did not come up:\n{self._log.read_text()[-8000:]}")

    def end(self):
        """End it, and the processes that it started."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):  # none of its group is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
