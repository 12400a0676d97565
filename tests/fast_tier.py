"""Hold every test that is not marked slow to the fast tier: it starts no process and takes some seconds at most."""

import contextlib
import multiprocessing.process
import os
import subprocess
import time
from collections.abc import Generator
from typing import Any

import pytest


# seconds of CPU, several times what the slowest of them takes, also where Triton's kernels are interpreted
LIMIT = 60.0 if "TRITON_INTERPRET" in os.environ else 10.0
_held: list[str] = []  # the test that runs, where it is held to the tier


def _refused(start: Any) -> Any:
    """Return `start` for slow tests, a failure for the others."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        if _held:
            # pytest's failures are no `Exception`, so that no library takes this for a missing program
            pytest.fail(f"{_held[0]} starts a process: mark it slow")
        return start(*args, **kwargs)

    return checked


for owner, name in (
    (subprocess.Popen, "__init__"),
    (multiprocessing.process.BaseProcess, "start"),
    (os, "fork"),
    (os, "posix_spawn"),
    (os, "system"),
):
    setattr(owner, name, _refused(getattr(owner, name)))


@contextlib.contextmanager
def held(item: pytest.Item) -> Generator[None]:
    """Hold this part of a test to the tier."""
    if item.get_closest_marker("slow"):
        yield
        return
    begin = time.process_time()
    _held.append(item.nodeid)
    try:
        yield
    finally:
        _held.clear()
    if (seconds := time.process_time() - begin) > LIMIT:
        pytest.fail(f"{item.nodeid} took {seconds:.1f} s of CPU, more than {LIMIT:.0f}: mark it slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    with held(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with held(item):
        return (yield)
