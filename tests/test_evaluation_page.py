"""The numbers of the page on evaluations are those of the committed results."""

import pytest
from launching import ROOT

from es_trl.evaluation import compare, read_evaluation


PAGE = " ".join((ROOT / "docs" / "guides" / "evaluation.md").read_text().split())
MODELS = {"base": "base", "before_anneal": "demo before its anneal", "es": "demo", "grpo": "without control"}


def result(name):
    return read_evaluation(ROOT / "results" / "evaluation" / name)


def shown(interval):
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


@pytest.mark.parametrize("numbers", [3, 4])
@pytest.mark.parametrize("model", MODELS)
def test_a_row(model, numbers):
    found, base = result(f"{model}-{numbers}"), result(f"base-{numbers}")
    assert (found.problems, found.n, found.settings["temperature"]) == (200, 256, 1.0)
    assert found.digest == base.digest
    cells = [shown(found.pass_at_k[k]) for k in (1, 16, 256)]
    if model == "base":
        cells[2:] = ["1.000", ""]
        assert found.pass_at_k[256].low == 1.0
    else:
        k = compare(base, found).crossing
        cells.append(f"{k.value:.1f} ({k.low:.1f} to {k.high:.1f})")
    row = " | ".join(cells).strip()
    assert row.removesuffix("|").strip() in PAGE


def test_what_is_said():
    for numbers in (3, 4):
        base = result(f"base-{numbers}")
        for model in list(MODELS)[1:]:
            found = compare(base, result(f"{model}-{numbers}"))
            differences = dict(zip(found.ks, found.differences, strict=True))
            assert found.paired and all(differences[k].low > 0 for k in (1, 2))
            assert all(differences[k].high < 0 for k in (16, 32, 64))
    anneal = compare(result("before_anneal-3"), result("es-3")).differences
    assert f"adds {shown(anneal[0])} to pass@1" in PAGE
    lost = anneal[4]
    assert f"takes {-lost.value:.3f} ({-lost.high:.3f} to {-lost.low:.3f}) from its pass@16" in PAGE
    held = compare(result("grpo-4"), result("before_anneal-4")).differences
    assert f"pass@64 is {shown(held[6])} higher" in PAGE
    assert f"pass@1 {-held[0].value:.3f} ({-held[0].high:.3f} to {-held[0].low:.3f}) lower" in PAGE
    worse = compare(result("grpo-3"), result("es-3"))
    assert [k for k, each in zip(worse.ks, worse.differences, strict=True) if each.high < 0] == [
        2**p for p in range(1, 8)
    ]
    same = compare(result("grpo-4"), result("es-4")).differences
    assert all(each.low < 0 < each.high for each in same)
