import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_trl.control.band import BandSignController, DeadBandController, excursion
from es_trl.control.open_loop import FollowController, HoldController


NATS = st.floats(0.0, 3.0)


@pytest.mark.parametrize(
    ("entropy", "expected"), [(0.10, 0.05), (0.15, 0.0), (0.20, 0.0), (0.24, 0.0), (0.30, -0.06), (0.64, -0.40)]
)
def test_excursion_of_aents_band(entropy, expected):
    # [0.15, 0.24] for Qwen2.5-Math-1.5B
    assert excursion(0.195, entropy, 0.09) == pytest.approx(expected)


@given(NATS, NATS, st.floats(0.0, 1.0))
def test_excursion_is_the_published_sum(target, entropy, width):
    low, high = target - width / 2, target + width / 2
    published = min(0.0, entropy - low) + max(0.0, entropy - high)
    assert excursion(target, entropy, width) == pytest.approx(-published, abs=1e-12)


def test_dead_band_by_hand():
    controller = DeadBandController(gain=0.002, width=0.09, warmup=1)
    controller.begin(0.002, 6e-4, 9e-3)
    entropies = (0.5, 0.10, 0.20, 0.34)
    controls = [controller.update(0.195, entropy) for entropy in entropies]
    # warm-up; 0.05 below the band; within; 0.10 above
    assert controls == pytest.approx([0.002, 0.0021, 0.0021, 0.0019])


def test_without_a_band_it_is_proportional_and_never_below_its_bound():
    controller = DeadBandController(gain=0.1)
    controller.begin(0.0, 0.0, 0.03)
    controls = [controller.update(0.4, entropy) for entropy in (0.5, 0.3, 0.1, 0.1, 0.5, 0.6, 0.6)]
    assert controls == pytest.approx([0.0, 0.01, 0.03, 0.03, 0.02, 0.0, 0.0])


@given(st.lists(st.tuples(NATS, NATS), min_size=1, max_size=30), st.floats(0.0, 0.5), st.floats(1e-4, 1.0))
def test_the_dead_band_stays_in_its_bounds_and_moves_towards_the_band(series, width, gain):
    controller = DeadBandController(gain=gain, width=width)
    controller.begin(0.0, -0.05, 0.1)
    before = 0.0
    for target, entropy in series:
        control = controller.update(target, entropy)
        assert -0.05 <= control <= 0.1
        assert (control - before) * excursion(target, entropy, width) >= 0.0
        before = control


def test_the_sign_of_the_band_by_hand():
    controller = BandSignController(width=0.1)
    controller.begin(0.0, -1.0, 1.0)
    # Algorithm 1's m is minus the control: 1 above the band, -1 below it, 0 within and at its ends
    entropies = (0.54, 0.55, 0.6, 0.65, 0.66)
    assert [controller.update(0.6, entropy) for entropy in entropies] == [1.0, 0.0, 0.0, 0.0, -1.0]


def test_within_the_band_the_control_is_the_one_it_began_with():
    controller = BandSignController(width=0.1)
    controller.begin(0.28, 0.1, 0.4)
    assert [controller.update(0.6, entropy) for entropy in (0.5, 0.6, 0.7)] == [0.4, 0.28, 0.1]


def test_a_band_without_width_is_bang_bang():
    controller = BandSignController(width=0.0)
    controller.begin(0.0, -1.0, 1.0)
    assert [controller.update(0.5, entropy) for entropy in (0.4, 0.5, 0.6)] == [1.0, 0.0, -1.0]


@pytest.mark.parametrize(
    "make",
    [lambda: DeadBandController(0.1, 0.05, warmup=2), BandSignController, HoldController, FollowController],
    ids=["dead_band", "band_sign", "hold", "follow"],
)
@given(series=st.lists(st.tuples(NATS, NATS), min_size=2, max_size=12), cut=st.integers(1, 11))
def test_a_resumed_controller_goes_on_as_the_whole_one(make, series, cut):
    cut = min(cut, len(series) - 1)
    whole, resumed = make(), make()
    for controller in (whole, resumed):
        controller.begin(0.0, -1.0, 1.0)
    for target, entropy in series[:cut]:
        whole.update(target, entropy)
    resumed.load_state_dict(whole.state_dict())
    rest = series[cut:]
    assert [resumed.update(*pair) for pair in rest] == [whole.update(*pair) for pair in rest]


@pytest.mark.parametrize("controller", [DeadBandController(0.1), BandSignController(), HoldController()])
def test_a_jump_of_other_prompts_leaves_the_control(controller):
    controller.begin(0.0, -1.0, 1.0)
    before = controller.update(0.5, 0.3)
    controller.rebase(0.5, 0.9, None)
    assert controller.state_dict()["control"] == before


def test_open_loops():
    hold, follow = HoldController(), FollowController()
    hold.begin(2e-4, 0.0, 0.05)
    follow.begin(0.2, 0.0, 0.45)
    assert [hold.update(0.4, 0.1), hold.update(0.1, 0.4)] == [2e-4, 2e-4]
    assert [follow.update(0.4, 0.1), follow.update(0.5, 0.1)] == [0.4, 0.45]
    assert follow.needs_target and not hold.needs_target


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: DeadBandController(width=-0.1),
            "`width` must be a finite number >= 0, got -0.1: set 0.1, or 0 for no",
        ),
        (
            lambda: BandSignController(width=-0.1),
            "`width` must be a finite number >= 0, got -0.1: set 0.1, or 0 for no",
        ),
        (lambda: BandSignController(width=float("nan")), "`width` must be a finite number >= 0, got nan"),
        (lambda: DeadBandController(gain=-1.0), "`gain` must be a finite number > 0, got -1.0: set 0.002"),
        (lambda: DeadBandController(gain=0.0), "`gain` must be a finite number > 0, got 0.0"),
        (lambda: DeadBandController(warmup=-1), "`warmup` must be a whole number >= 0, got -1"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
