"""A preview of three schedules side by side, without a model and without torch.

Run it (less than a second): `python examples/preview_schedule.py`
"""

from es_trl import CallableSchedule, CosineSchedule, StableAnnealSchedule, sketch


def hold_then_decay(progress: float) -> float:
    """Return 0.4 nats for the first half of the run, then decay geometrically to 0.1; `progress` is in [0, 1]."""
    return 0.4 * 0.25 ** max(0.0, 2.0 * progress - 1.0)


SCHEDULES = {
    "stable, then anneal": StableAnnealSchedule(target=0.4, end=0.05, ratio=0.2),
    "cosine": CosineSchedule(start=0.4, end=0.05),
    "your own": CallableSchedule(hold_then_decay, onset=0.5),
}


def main() -> None:
    sketches = [[name, *sketch(schedule, width=30).splitlines()] for name, schedule in SCHEDULES.items()]
    for row in zip(*sketches, strict=True):
        print("".join(f"{cell:<49}" for cell in row).rstrip())
    print(f"\n{'nats at':<20}" + "".join(f"{tenth / 10:>9.0%}" for tenth in range(0, 11, 2)))
    for name, schedule in SCHEDULES.items():
        print(f"{name:<20}" + "".join(f"{schedule(tenth / 10):9.3f}" for tenth in range(0, 11, 2)))


if __name__ == "__main__":
    main()
