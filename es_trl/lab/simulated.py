"""A simulated plant: the entropy of the Countdown lab without its model, thousands of rollouts per second."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from ..control.base import Controller
from ..control.schedules import Schedule, progress_at


@dataclass(frozen=True)
class SimulatedPlant:
    """
    Entropy that integrates what a control does to it, with dead time, drift and noise.

        entropy[t+1] = entropy[t] * (1 + sensitivity * felt[t]) - drift * entropy[t]^1.5 + wander
        felt[t] = (1 - carried) * control[t - dead_time + 1] + carried * control[t - dead_time]

    The defaults are fitted to runs of the lab with 8 updates per rollout at a learning rate of 1e-4, under a bonus that
    was moved at random (results/plant/summary.md): sensitivity 0.10 at once and 0.04 one rollout later, drift 0.005
    nats per rollout at 0.3 nats, a measurement's standard error 0.012 nats. At three times and a third of the learning
    rate sensitivity and drift are about three times and a third of these.

    Args:
        initial (`float`):
            Entropy of the first rollout, nats.
        sensitivity (`float` or `Callable[[int], float]`):
            Change of entropy per unit of control and rollout, as a share of entropy; or a function of the rollout.
        drift (`float`):
            Entropy lost per rollout without control, in units of entropy^1.5.
        carried (`float`):
            Share of a control's effect that comes one rollout later, 0 to 1.
        dead_time (`int`):
            Rollouts from a control to the first entropy that shows it, at least 1.
        noise (`float`), wander (`float`):
            Standard deviations at 0.3 nats of a measurement and of entropy's random change per rollout, nats. Both grow
            with the square root of entropy.
        outliers (`float`):
            Share of measurements that are 0.2 nats too high, as single rollouts of long runs are.
    """

    initial: float = 0.49
    sensitivity: float | Callable[[int], float] = 0.14
    drift: float = 0.03
    carried: float = 0.3
    dead_time: int = 1
    noise: float = 0.012
    wander: float = 0.006
    outliers: float = 0.0

    def run(
        self,
        controller: Controller,
        schedule: Schedule,
        rollouts: int = 100,
        bounds: tuple[float, float] = (-1.0, 1.0),
        seed: int = 0,
    ) -> "SimulatedRun":
        """
        Control the plant, and return its series.

        Args:
            controller (`Controller`):
                Begins at control 0.
            schedule (`Schedule`):
                Target entropy, nats.
            rollouts (`int`):
                Length of the run.
            bounds (`tuple[float, float]`):
                Bounds of the control.
            seed (`int`):
                Seed of the noise.
        """
        rng = random.Random(seed)
        sensitivity = self.sensitivity if callable(self.sensitivity) else lambda rollout: self.sensitivity
        controller.begin(0.0, *bounds)
        run = SimulatedRun([], [], [], [], [])
        entropy = self.initial
        for rollout in range(rollouts):
            scale = math.sqrt(max(entropy, 1e-3) / 0.3)
            noise = self.noise * scale
            measured = max(entropy + rng.gauss(0.0, noise) + 0.2 * (rng.random() < self.outliers), 1e-6)
            target = schedule(progress_at(rollout, rollouts))
            slope = schedule(progress_at(rollout + 1, rollouts)) - target
            control = controller.update(target, measured, slope, noise)
            for series, value in zip(vars(run).values(), (target, entropy, measured, noise, control), strict=True):
                series.append(value)
            past = [0.0] * (self.dead_time + 1) + run.controls
            felt = (1.0 - self.carried) * past[-self.dead_time] + self.carried * past[-self.dead_time - 1]
            change = sensitivity(rollout) * entropy * felt - self.drift * entropy**1.5
            entropy = min(max(entropy + change + rng.gauss(0.0, self.wander * scale), 1e-3), 3.0)
        return run


@dataclass(frozen=True)
class SimulatedRun:
    """Series of a run, one value per rollout: target, true and measured entropy, standard error (nats), control."""

    targets: list[float]
    entropies: list[float]
    measured: list[float]
    noises: list[float]
    controls: list[float]

    def error(self, first: int = 0, last: int | None = None) -> float:
        """Return the root-mean-square error of the rollouts from `first` to before `last`, nats."""
        pairs = list(zip(self.targets, self.measured, strict=True))[first:last]
        return math.sqrt(sum((target - entropy) ** 2 for target, entropy in pairs) / len(pairs))

    def floor(self, first: int = 0, last: int | None = None) -> float:
        """Return the root-mean-square standard error over the same rollouts, which no controller comes below, nats."""
        noises = self.noises[first:last]
        return math.sqrt(sum(noise**2 for noise in noises) / len(noises))
