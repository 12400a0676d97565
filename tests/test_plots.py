import json

import pytest
from written_run import write_run

from es_trl.__main__ import main as cli
from es_trl.tracking.history import summarize


pytest.importorskip("matplotlib")


@pytest.mark.parametrize("controlled", [True, False])
def test_figure_shows_what_the_history_holds(controlled, tmp_path, capsys, monkeypatch):
    from matplotlib.figure import Figure

    write_run(tmp_path, controlled)
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: (drawn.append(self), savefig(self, *args)))
    assert cli(["plot", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "es_curves.png")
    assert (tmp_path / "es_curves.png").read_bytes()[:4] == b"\x89PNG"
    axes = {axis.get_ylabel(): axis for axis in drawn[0].axes}
    names = ["entropy, nats", "reward", "completion, tokens"]
    assert list(axes) == ([names[0], "entropy_bonus", *names[1:]] if controlled else names)
    entropy = {line.get_label(): list(line.get_ydata()) for line in axes["entropy, nats"].get_lines()}
    assert entropy["entropy"] == [0.3] * 40 and entropy["target"] == ([0.4] * 40 if controlled else [])
    if controlled:
        control, saturated = axes["entropy_bonus"].get_lines()
        assert list(control.get_ydata()) == [0.2] * 40
        assert list(saturated.get_xdata()) == [0]
        (shade,) = axes["reward"].patches
        assert (shade.get_x(), shade.get_x() + shade.get_width()) == (30, 39)


@pytest.mark.parametrize(
    ("step", "drawn_bounds", "words"),
    [(0.001, [], ["bounds: -0.5 and 0.5"]), (0.008, [0.5], ["bounds: -0.5 and 0.5"]), (0.02, [-0.5, 0.5], [])],
)
def test_bounds_far_beyond_the_control_are_named_and_not_drawn(step, drawn_bounds, words, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    records = write_run(tmp_path, controlled=True)
    for record in records:
        record |= {"control": 0.15 + step * (record["rollout"] - 20), "saturated": False}
    (tmp_path / "es_history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: drawn.append(self))
    assert cli(["plot", str(tmp_path)]) == 0
    (axis,) = [axis for axis in drawn[0].axes if axis.get_ylabel() == "entropy_bonus"]
    *bounds, line = axis.get_lines()
    assert line.get_ydata()[-1] == pytest.approx(0.15 + 19 * step)
    assert [bound.get_ydata()[0] for bound in bounds] == drawn_bounds
    assert [text.get_text() for text in axis.texts] == words


def test_figure_of_a_chain(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    bounds = {"ClipHighActuator": [0.1, 0.4], "EntropyBonusActuator": [-0.5, 0.5]}
    records = write_run(tmp_path, controlled=True)
    for record in records:
        acting = list(bounds)[record["rollout"] >= 20]
        record |= {"actuator": acting, "control": 0.4 if record["rollout"] < 20 else 0.0, "entropy_se": 0.05}
        record["settings"] = {"epsilon_high": 0.4, "entropy_bonus": 0.0}
    records[19]["events"] = [{"kind": "hand_over", "message": "one takes over"}]
    (tmp_path / "es_history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "es_loop.json").write_text(json.dumps({"bounds": bounds}))
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: (drawn.append(self), savefig(self, *args)))
    assert cli(["plot", str(tmp_path)]) == 0
    axes = {axis.get_ylabel(): axis for axis in drawn[0].axes}
    lines = {line.get_label(): line for line in axes["control / range"].get_lines()}
    assert list(lines["ClipHighActuator"].get_ydata()[:20]) == pytest.approx([1.0] * 20)
    assert list(lines["EntropyBonusActuator"].get_ydata()[20:]) == pytest.approx([0.5] * 20)
    # the hand-over is marked in every panel, and the band is two standard errors wide on each side
    assert all(any(list(line.get_xdata()) == [19, 19] for line in axis.get_lines()) for axis in axes.values())
    low, high = axes["entropy, nats"].collections[0].get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == pytest.approx((0.3, 0.5))


def test_summary_by_hand(tmp_path):
    assert summarize(write_run(tmp_path, controlled=True)).splitlines() == [
        "rollouts                         40",
        "entropy, first and last rollout  0.300 -> 0.300 nats",
        "reward, first and last 10        0.113 -> 0.863",  # means of 0 to 9 and of 30 to 39, over 40
        "rms error, stable                0.100 nats over 15 rollouts, after the first 15",
        "rms error, anneal                0.100 nats over 10 rollouts",
    ]


def test_folder_without_a_run_is_refused(tmp_path, capsys):
    assert cli(["plot", str(tmp_path)]) == 2
    assert "es_history.jsonl does not exist: give the output_dir of a run" in capsys.readouterr().err
