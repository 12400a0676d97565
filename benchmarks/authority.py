"""What each actuator does to the entropy of a model in one rollout, from the same weights and completions.

python benchmarks/authority.py run lab       # the Countdown lab, some minutes on one core
python benchmarks/authority.py run NAME --model FOLDER --dataset_name FILE --reward math --learning_rates 2e-6 1e-5 3e-5
python benchmarks/authority.py report        # from the committed data: summary.md and authority.png

The completions of a seed are generated once. From the same weights, with fresh moments of AdamW or those of some
rollouts before, they are trained on under each setting by the trainer's own updates. Entropy is measured before and
after on the same tokens, and with --fresh on completions that are generated anew. A run that was stopped goes on where
it stopped.
"""

import argparse
import contextlib
import copy
import gc
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # `rollout_func` is experimental

import torch
from authority_report import DATA, KEY, report
from control_report import load
from datasets import Dataset
from lab_run import rounded
from stored_rollout import StoredRollout, Subject, add_subject, check_subject, generate, said_by, subject_of
from transformers import PreTrainedModel

from es_trl import EntropyScheduler, ESGRPOConfig, ESGRPOTrainer
from es_trl.actuators.entropy_bonus import EntropyBonusActuator
from es_trl.actuators.repo import RepoActuator
from es_trl.actuators.sample_weight import SampleWeightActuator
from es_trl.common.refusals import run as refusing
from es_trl.control.base import Actuator, ActuatorArgs
from es_trl.control.open_loop import HoldController


CLIP = {"epsilon": 0.2, "epsilon_high": 0.28}


WARM_SEED = 1000  # of the first rollout before the measured one


@dataclass(frozen=True)
class Condition:
    """How a rollout is trained on: updates per pass, passes over it, learning rate, and rollouts that come before."""

    updates: int
    passes: int
    learning_rate: float
    warm: int = 0


@dataclass(frozen=True)
class Setting:
    """
    An actuator at one control.

    Args:
        changes (`dict[str, float]`):
            Fields of the configuration that the actuator would move.
        actuator (`Actuator`, *optional*):
            An actuator on the tensors of the loss, which holds its control from the first update on.
        binds (`bool`):
            Whether it acts only where a ratio has left 1, that is, after the first update.
        everywhere (`bool`):
            Whether it is measured in all conditions, or only in the middle one.
    """

    changes: dict[str, float] = field(default_factory=dict)
    actuator: Actuator | None = None
    binds: bool = False
    everywhere: bool = True


def _held(kind: type[Actuator], control: float) -> Actuator:
    """Return an actuator that begins at a control; one that begins at 0 would act too late with one update."""

    class Held(kind):
        def initial(self, args: ActuatorArgs) -> float:
            return control

    return Held(-1.0, 1.0)


def _clips() -> Iterator[tuple[str, Setting]]:
    for high, everywhere in ((0.0, True), (4.0, True), (0.1, False), (0.4, False)):
        yield f"clip_high {high:g}", Setting({"epsilon_high": high}, binds=True, everywhere=everywhere)
    for control in (-0.65, 1.3):
        moved = {"epsilon": 0.2 * 10**-control, "epsilon_high": 0.28 * 10**control}
        yield f"clip {control:g}", Setting(moved, binds=True)
    for low, everywhere in ((0.02, True), (0.9, True), (0.0, False)):
        yield f"clip_low {low:g}", Setting({"epsilon": low}, binds=True, everywhere=everywhere)


def _others() -> Iterator[tuple[str, Setting]]:
    for size in (0.1, 0.3, 0.03):
        for control in (-size, size):
            yield (
                f"entropy_bonus {control:g}",
                Setting({}, _held(EntropyBonusActuator, control), everywhere=size == 0.1),
            )
    for beta in (0.1, 1.0):
        yield f"kl_coef {beta:g}", Setting({"beta": beta}, binds=True, everywhere=False)
    for size in (0.05, 0.5):
        for control in (-size, size):
            yield f"repo {control:g}", Setting({}, _held(RepoActuator, control), everywhere=size == 0.05)
    for control in (-1.0, 1.0):
        yield f"sample_weight {control:g}", Setting({}, _held(SampleWeightActuator, control))


SETTINGS: dict[str, Setting] = {"nothing": Setting(), **dict(_clips()), **dict(_others())}


def conditions_of(rates: list[float]) -> list[Condition]:
    """Return the conditions: the middle one first, then those in which one number differs."""
    low, middle, high = rates
    others = [(4, 1, middle, 4), (4, 1, low), (4, 4, middle), (16, 1, middle), (1, 1, middle), (4, 1, high)]
    return [Condition(*values) for values in [(4, 1, middle), *others]]


def points_of(rates: list[float], seeds: int) -> list[tuple[Condition, int, str]]:
    """Return condition, seed and setting of each point, in the order in which they are measured."""
    pairs = [(place, seed) for place in range(len(conditions_of(rates))) for seed in range(seeds if place == 0 else 2)]
    return [
        (conditions_of(rates)[place], seed, name)
        for place, seed in sorted(pairs, key=lambda pair: (pair[0] + 2 * pair[1], pair[1]))
        for name, setting in SETTINGS.items()
        if (place == 0 or setting.everywhere)
        and not (setting.binds and conditions_of(rates)[place].updates * conditions_of(rates)[place].passes == 1)
    ]


def trained(
    subject: Subject,
    rollout: StoredRollout,
    condition: Condition,
    setting: Setting,
    state: dict[str, Any] | None = None,
) -> ESGRPOTrainer:
    """Return a trainer that has trained a copy of the subject's model, from a state of the optimizer or a fresh one."""
    hold = EntropyScheduler(None, HoldController(), setting.actuator) if setting.actuator else None
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        args = ESGRPOConfig(
            folder,
            num_generations=rollout.per_prompt,
            per_device_train_batch_size=len(rollout.rewards) // condition.updates,
            gradient_accumulation_steps=1,
            steps_per_generation=condition.updates,
            num_iterations=condition.passes,
            max_steps=condition.updates * condition.passes,
            max_completion_length=subject.longest,
            learning_rate=condition.learning_rate,
            lr_scheduler_type="constant",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            **{**CLIP, **setting.changes},
        )
        trainer = ESGRPOTrainer(
            copy.deepcopy(subject.model),
            rollout.rewarded,
            args,
            train_dataset=Dataset.from_dict({"prompt": list(map(str, range(len(rollout.rewards))))}),
            processing_class=subject.tokenizer,
            callbacks=[hold] if hold else [],
            rollout_func=rollout,
        )
        if state is not None:
            trainer.create_optimizer()
            trainer.optimizer.load_state_dict(copy.deepcopy(state))
        trainer.train()
    return trainer


def warmed(subject: Subject, condition: Condition) -> tuple[Subject, dict[str, Any] | None]:
    """Return the subject and the state of its optimizer after the rollouts that come before the measured one."""
    state = None
    for number in range(condition.warm):
        rollout = generate(subject, WARM_SEED + number)
        trainer = trained(subject, rollout, condition, SETTINGS["nothing"], state)
        model = copy.deepcopy(subject.model)  # a copy of a trainer's model would still call the one it was copied from
        model.load_state_dict(trainer.model.state_dict())
        subject, state = replace(subject, model=model), trainer.optimizer.state_dict()
    return subject, state


def measure(rollout: StoredRollout, base: tuple[torch.Tensor, torch.Tensor], trainer: ESGRPOTrainer) -> dict[str, Any]:
    """Return what the updates of a trainer have changed; `base` is what the model said about the rollout before."""
    (before, old), (after, new) = base, said_by(trainer.model.eval(), rollout)
    logs = [line for line in trainer.state.log_history if "grad_norm" in line]
    shares = {side: [line.get(f"clip_ratio/{side}_mean", 0.0) for line in logs] for side in ("low", "high")}
    return {
        "before": rounded(before.mean().item()),
        "after": rounded(after.mean().item()),
        "ratio": rounded((new - old).exp().sub(1.0).abs().mean().item()),
        **{f"clipped_{side}": rounded(sum(values) / len(values)) for side, values in shares.items()},
        "tokens": len(before),
        "reward": rounded(sum(rollout.rewards) / len(rollout.rewards)),
    }


def anew(subject: Subject, seed: int, model: PreTrainedModel) -> dict[str, Any]:
    """Return entropy (nats) and reward of completions that a model writes to the prompts of a seed."""
    fresh = generate(subject, seed, model)
    reward = sum(fresh.rewards) / len(fresh.rewards)
    return {"fresh": rounded(said_by(model, fresh)[0].mean().item()), "fresh_reward": rounded(reward)}


def run(name: str, subject: Subject, rates: list[float], seeds: int, fresh: bool) -> None:
    """Measure the points that are not in the data yet, and append each when it is measured."""
    torch.set_num_threads(1)
    done = load(DATA, KEY)
    points = [(c, s, n) for c, s, n in points_of(rates, seeds) if (name, *asdict(c).values(), s, n) not in done]
    start, rollout, base, last = (subject, None), None, None, None
    for number, (condition, seed, setting) in enumerate(points, start=1):
        if last is None or condition.warm != last[0].warm:
            start = warmed(subject, condition)
        if last is None or (condition.warm, seed) != (last[0].warm, last[1]):
            rollout = generate(start[0], seed)
            base = said_by(start[0].model, rollout)
        last = (condition, seed)
        began = time.process_time()
        trainer = trained(start[0], rollout, condition, SETTINGS[setting], start[1])
        found = measure(rollout, base, trainer)
        if fresh:
            found |= anew(subject, seed, trainer.model)
        del trainer
        gc.collect()
        took = time.process_time() - began
        point = {"subject": name, **asdict(condition), "seed": seed, "setting": setting, **found}
        DATA.parent.mkdir(parents=True, exist_ok=True)
        with open(DATA, "a") as file:
            file.write(json.dumps({**point, "seconds": rounded(took)}) + "\n")
        left = took * (len(points) - number) / 60
        print(f"{number}/{len(points)}, about {left:.0f} core-minutes left:", *list(point.values())[1:9], flush=True)


def main(argv: list[str]) -> None:
    """Measure a model if that is asked for, and print the tables of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    add_subject(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning_rates", type=float, nargs=3, default=[3e-5, 1e-4, 3e-4])
    parser.add_argument("--fresh", action="store_true", help="measure entropy on new completions, too")
    options = parser.parse_args(argv)
    check_subject(parser, options)
    if options.command == "run":
        run(options.name, subject_of(options), options.learning_rates, options.seeds, options.fresh)
    print(report())


if __name__ == "__main__":
    raise SystemExit(refusing(main, sys.argv[1:]))
