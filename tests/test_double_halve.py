"""REPO-R's controller against its published rules, and the method that uses it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from method_runs import PLAIN

from es_trl.actuators.repo import RepoActuator
from es_trl.control.base import ActuatorArgs
from es_trl.control.double_halve import DoubleHalveController
from es_trl.control.handover import ActuatorChain


def published(zeta, entropy, target, smallest, largest):
    """The rules as the authors' text and SkyRL's code give them."""
    if entropy > target:
        if zeta >= 0.0:
            zeta = zeta / 2.0
            return -smallest if zeta < smallest else zeta
        return max(-largest, 2.0 * zeta)
    if entropy < target:
        if zeta > 0.0:
            return min(largest, 2.0 * zeta)
        if zeta == 0.0:
            return smallest
        zeta = zeta / 2.0
        return smallest if zeta > -smallest else zeta
    return zeta


def begun(initial=1e-3, low=-0.05, high=0.05, smallest=1e-4):
    controller = DoubleHalveController(smallest)
    controller.begin(initial, low, high)
    return controller


ENTROPIES = st.lists(st.sampled_from([0.3, 0.4, 0.5]), min_size=1, max_size=60)


def test_by_hand():
    controller = begun()
    # above the target 0.4 it is halved, and 6.25e-5 is below 1e-4, so it hops; then it doubles away from 0
    down = [controller.update(0.4, 0.5) for _ in range(6)]
    assert down == pytest.approx([5e-4, 2.5e-4, 1.25e-4, -1e-4, -2e-4, -4e-4])
    assert controller.update(0.4, 0.4) == down[-1]
    assert [controller.update(0.4, 0.3) for _ in range(4)] == pytest.approx([-2e-4, -1e-4, 1e-4, 2e-4])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nine_doublings_reach_the_bound(sign):
    controller = begun(initial=0.0)
    controls = [sign * controller.update(0.4, 0.4 - sign * 0.1) for _ in range(12)]
    assert controls == pytest.approx([1e-4 * 2**k for k in range(9)] + [0.05] * 3)


@given(ENTROPIES, st.sampled_from([0.0, 1e-3, -1e-3, 0.05, 1e-4, -2e-4]))
def test_it_follows_the_published_rules_within_its_bounds(entropies, zeta):
    controller, mirrored = begun(zeta), begun(-zeta)
    for entropy in entropies:
        zeta = published(zeta, entropy, 0.4, 1e-4, 0.05)
        assert controller.update(0.4, entropy) == zeta and abs(zeta) <= 0.05
        assert mirrored.update(0.4, 0.3 + 0.5 - entropy if entropy != 0.4 else 0.4) == -zeta  # symmetric


@given(ENTROPIES, st.integers(0, 59))
def test_the_control_never_rests_near_0_and_goes_on_after_a_resume(entropies, cut):
    whole, resumed = begun(), begun()
    for entropy in entropies[:cut]:
        assert abs(whole.update(0.4, entropy)) >= 1e-4
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert [resumed.update(0.4, each) for each in entropies[cut:]] == [whole.update(0.4, e) for e in entropies[cut:]]


def test_bounds_on_one_side_of_0_count():
    controller = begun(0.01, low=0.0, high=0.03)
    assert [controller.update(0.4, 0.5) for _ in range(8)][-1] == 0.0
    assert [controller.update(0.4, 0.3) for _ in range(12)][-1] == 0.03


def test_smallest_is_above_0():
    with pytest.raises(ValueError, match="`smallest` must be a finite number > 0, got 0.0: set 1e-4"):
        DoubleHalveController(0.0)


def test_zeta_begins_at_its_start_and_then_stands_alone():
    chain = ActuatorChain(begun(), [RepoActuator(start=1e-3)])
    chain.begin(ActuatorArgs())
    assert chain.settings == {"repo_zeta": 1e-3} and chain.control == 1e-3
    chain.update(0.4, 0.3, 0.0, None)
    assert chain.settings == {"repo_zeta": 2e-3}
    with pytest.raises(ValueError, match="RepoActuator must be the only actuator"):
        ActuatorChain(begun(), [RepoActuator(start=1e-3), RepoOther()])
    ActuatorChain(begun(), [RepoActuator(), RepoOther()])


class RepoOther(RepoActuator):
    """Another kind, for a chain of two."""


def test_repo_r_holds_the_first_entropy_with_one_update_per_rollout(lab_trainer):
    run = {"steps_per_generation": 1, "per_device_train_batch_size": 16, "max_steps": 4}
    trainer = lab_trainer(method="repo_r", **run, **PLAIN)
    trainer.train()
    records = trainer.history.records
    first = records[0]["entropy"]
    assert {record["target"] for record in records} == {first}
    zeta, zetas = 1e-3, []
    for record in records:
        zeta = published(zeta, record["entropy"], first, 1e-4, 0.05)
        zetas.append(zeta)
    assert [record["control"] for record in records] == zetas and zetas[0] == 1e-3
