"""An evaluation from settings to files."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from transformers.utils import logging

from ..common.writing import append, write_atomically, writing
from ..data.bars import no_bars_in_files
from ..estimates.result import RESULT_FILE, SETTINGS_FILE, Evaluation, read_evaluation
from .estimating import estimated
from .judging import judge
from .models import ModelFiles
from .problems import Problems, Reward, code_of, digest, load_problems, token_ids
from .progress import progress
from .samples import SAMPLES_FILE, keep_whole_units, lines_of, tally
from .sampling import Sampler, Sampling, TransformersSampler
from .settings import EvaluationSettings
from .units import Unit, cut


PROBLEMS_FILE = "problems.jsonl"
_LOCK = "_eval.lock"

logger = logging.get_logger(__name__)


def evaluate(settings: EvaluationSettings, output_dir: str | Path) -> Evaluation:
    """
    Sample and judge completions, and return pass@k and pass^k. What an earlier start has done is kept.

    Args:
        settings (`EvaluationSettings`):
            What to do.
        output_dir (`str` or `Path`):
            Folder for `eval.json`, `problems.jsonl`, `samples.jsonl` and `passk.json`. An evaluation that was killed
            goes on there with the unit that it was at, and has the same samples in the end.

    Returns:
        `Evaluation`: the result, which is also in `passk.json`.

    Raises:
        ValueError: for a model, data or a reward that cannot be used, for a folder that holds an evaluation with other
            settings, or in which another one runs.
    """
    began, folder = time.monotonic(), Path(output_dir)
    files = ModelFiles.of(settings.model)
    with no_bars_in_files():
        problems, rewards = load_problems(settings.data, settings.reward)
    prompts = token_ids(problems.prompts, files.tokenizer, settings.chat_template_kwargs)
    _check_lengths(prompts, files)
    lines = problems.as_lines()
    same = {**settings.of_samples(), "weights": files.digest(), "problems": digest(lines)}
    same |= {"prompts": digest(json.dumps(prompts)), "code": digest(code_of(settings.reward)), "n": settings.n}
    # the longest ones first, so that the memory is enough for all if it is for them
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    units = cut(order, settings.n, settings.batch_size)
    with _only_one(folder):
        before = _settings_before(folder)
        if before is not None:
            _check_same(before, same, folder)
        done = keep_whole_units(folder / SAMPLES_FILE, units)
        write_atomically(folder / SETTINGS_FILE, json.dumps(same, indent=2) + "\n")
        write_atomically(folder / PROBLEMS_FILE, lines)
        if done < len(units):
            sampler = _sampler(settings, files, max(map(len, prompts)))
            _sample(sampler, units[done:], prompts, problems, rewards, folder / SAMPLES_FILE, settings.seed)
        seconds = time.monotonic() - began
        if done == len(units) and (folder / RESULT_FILE).is_file():
            seconds = read_evaluation(folder).seconds
        counted = tally(folder / SAMPLES_FILE, len(problems))
        if counted.unjudged:
            count = f"{counted.unjudged} of {len(problems) * settings.n} completions got no reward (None or NaN)"
            logger.warning(f"{count} and count as wrong: check the reward function")
        found = estimated(settings, counted, round(seconds, 1), digest(lines))
        write_atomically(folder / RESULT_FILE, found.as_json())
    return found


def _check_lengths(prompts: Sequence[list[int]], files: ModelFiles) -> None:
    """Warn if a prompt has more tokens than the model has positions, which may be slow and mean nothing."""
    longest = max(range(len(prompts)), key=lambda row: len(prompts[row]))
    if files.positions is not None and len(prompts[longest]) >= files.positions:
        logger.warning(
            f"the prompt of problem {longest} has {len(prompts[longest])} tokens but the model has {files.positions} "
            "positions: leave such rows out, or take another model"
        )


def _sample(
    sampler: Sampler,
    units: Sequence[Unit],
    prompts: Sequence[list[int]],
    problems: Problems,
    rewards: Sequence[Reward],
    path: Path,
    seed: int,
) -> None:
    """Sample and judge units, and append each to the file when it is finished."""
    left, total = sum(len(unit.keys) for unit in units), len(problems) * units[-1].samples.stop
    with progress(total, total - left) as advance:
        for unit in units:
            made = sampler.sample([prompts[row] for row in unit.problems], len(unit.samples), unit.seed_of(seed))
            given = judge(problems, rewards, [problem for problem, _ in unit.keys], made)
            with writing(path, "the samples"):
                append(path, lines_of(unit, made, given))
            advance(len(made))


def _sampler(settings: EvaluationSettings, files: ModelFiles, longest: int) -> Sampler:
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens)
    if settings.backend == "vllm":
        from .vllm_sampling import VLLMSampler

        return VLLMSampler(files, sampling, longest)
    with no_bars_in_files():
        return TransformersSampler(files.load(), files.tokenizer, sampling)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other evaluations out of it while the block runs."""
    with writing(folder, "`--output_dir`", "set another --output_dir"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"another evaluation runs in {folder}: set another --output_dir, or wait until it has ended"
            ) from None
        except NotImplementedError:
            logger.warning(f"{folder} is on a file system without locks: see that one evaluation alone writes there")
    try:
        yield
    finally:
        lock.release()


def _settings_before(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the samples that a folder has, or `None` where it has none."""
    samples, path = folder / SAMPLES_FILE, folder / SETTINGS_FILE
    if not samples.exists() or not samples.stat().st_size:
        return None
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        return {"n": int(before["n"]), **before}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read, but {SAMPLES_FILE} beside it has samples: set another --output_dir"
        ) from error


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Raise unless the samples of an earlier start belong to this evaluation, or to one of a larger `n`."""
    named = {"weights": "model", "problems": "data", "code": "rewards"}  # digests, and what they are of
    differing = []
    for name in (name for name in now if name not in ("model", "data")):
        there, here = before.get(name), now[name]
        if there == here or name == "n" and _is_continued(before["n"], now["n"], now["batch_size"]):
            continue
        name = named.get(name, name)
        if name in now:
            there, here = before.get(name), now[name]
        differing.append(f"`{name}` is {there!r} there and {here!r} here" if there != here else f"`{name}` has changed")
    if differing:
        raise ValueError(
            f"{folder} holds an evaluation with other settings ({'; '.join(dict.fromkeys(differing))}): set another "
            "--output_dir"
        )


def _is_continued(before: int, now: int, at_once: int) -> bool:
    """Return whether the units of a smaller `n` are the first ones of a larger `n`."""
    units = cut([0], before, at_once)
    return (
        before < now and [unit.samples for unit in units] == [u.samples for u in cut([0], now, at_once)][: len(units)]
    )
