"""A simulation of the Countdown lab's entropy without a model, which makes thousands of rollouts per second."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from ..control.base import Controller
from ..control.schedules import Schedule, progress_at


@dataclass(frozen=True)
class SimulatedPlant:
    """
    A simulation of how entropy answers a control, with dead time, drift and noise.

        entropy[t+1] = entropy[t] * (1 + sensitivity * felt[t]) - drift * entropy[t]^1.5 + wander
        felt[t] = (1 - carried) * control[t - dead_time + 1] + carried * control[t - dead_time]

    The defaults are fitted to runs of the lab in which an entropy bonus was moved at random, with 8 updates per rollout
    and a learning rate of 1e-4 (results/plant/summary.md). The sensitivity was 0.10 in the same rollout and 0.04 one
    rollout later. The drift was 0.005 nats per rollout at 0.3 nats, and the standard error of a measurement 0.012 nats.
    Sensitivity and drift are about proportional to the learning rate, from a third of 1e-4 to three times 1e-4.

    Args:
        initial (`float`, *optional*, defaults to `0.49`):
            Entropy of the first rollout in nats.
        sensitivity (`float` or `Callable[[int], float]`, *optional*, defaults to `0.14`):
            Change of entropy per unit of control and rollout, as a share of the entropy, or a function from the rollout
            to it.
        drift (`float`, *optional*, defaults to `0.03`):
            Entropy lost per rollout without control, in units of entropy^1.5.
        carried (`float`, *optional*, defaults to `0.3`):
            Share of a control's effect that comes one rollout later, from 0 to 1.
        dead_time (`int`, *optional*, defaults to `1`):
            Number of rollouts from a control to the first entropy that shows its effect, at least 1.
        noise (`float`, *optional*, defaults to `0.012`):
            Standard error of a measurement at 0.3 nats, in nats. It grows with the square root of the entropy.
        wander (`float`, *optional*, defaults to `0.006`):
            Standard deviation of the entropy's random change per rollout at 0.3 nats, in nats. It grows with the square
            root of the entropy.
        outliers (`float`, *optional*, defaults to `0.0`):
            Share of the measurements that are 0.2 nats too high, like single rollouts of long runs.
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
        Simulate a run under control.

        Args:
            controller (`Controller`):
                The controller, which begins at the control 0.
            schedule (`Schedule`):
                The schedule, in nats.
            rollouts (`int`, *optional*, defaults to `100`):
                Number of rollouts in the run.
            bounds (`tuple[float, float]`, *optional*, defaults to `(-1.0, 1.0)`):
                Bounds of the control.
            seed (`int`, *optional*, defaults to `0`):
                Seed of the noise.

        Returns:
            `SimulatedRun`: the series of the run.
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
    """The series of a simulated run, one value per rollout. All but the controls are in nats."""

    targets: list[float]
    entropies: list[float]  # true values
    measured: list[float]  # the same with noise
    noises: list[float]  # standard errors of the measured values
    controls: list[float]

    def error(self, first: int = 0, last: int | None = None) -> float:
        """Return the root-mean-square error in nats of the rollouts from `first` to before `last`."""
        pairs = list(zip(self.targets, self.measured, strict=True))[first:last]
        return math.sqrt(sum((target - entropy) ** 2 for target, entropy in pairs) / len(pairs))

    def floor(self, first: int = 0, last: int | None = None) -> float:
        """Return the root-mean-square standard error in nats of these rollouts, the least error that is possible."""
        noises = self.noises[first:last]
        return math.sqrt(sum(noise**2 for noise in noises) / len(noises))
