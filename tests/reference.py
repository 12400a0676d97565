"""Algorithm 1 of the paper, line by line: adaptive clip-higher."""


def algorithm_1(entropies, scheduler, c0, delta, w, T, c_min, c_max):  # noqa: N803
    """
    The clip values of a run.

    Args:
        entropies: H(1), H(2), ... one a training step.
        scheduler: the pre-specified entropy of step t, counted from 1.
        c0, delta, w, T, c_min, c_max: as the paper names them.
    """
    c = c0  # 1: initialize c_t <- c_0, t <- 0
    t = 0
    clips = []
    while t < len(entropies):  # 2: while training continues
        t = t + 1  # 3
        if t <= T:  # 4
            c = c0  # 5: warm-up phase
        else:  # 6
            window = [tau for tau in range(t - w + 1, t + 1) if tau >= 1]  # 7: those steps that exist
            scheduled = sum(scheduler(tau) for tau in window) / len(window)  # 8
            current = sum(entropies[tau - 1] for tau in window) / len(window)  # 9
            if scheduled > current:  # 10
                change = +delta
            elif scheduled < current:
                change = -delta
            else:
                change = 0.0
            c = min(max(c + change, c_min), c_max)  # 11, with the previous c on the right
        clips.append(c)  # 13: execute the training step with clip parameter c
    return clips
