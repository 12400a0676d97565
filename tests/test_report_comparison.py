"""The page about several runs."""

import json
import shutil

import pytest
from page_reader import Page, without_vega  # noqa: F401, for pytest
from report_runs import everything, record, write_evaluation, write_records


alt = pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from es_trl.report.write import write_comparison  # noqa: E402


def test_several_runs_on_one_page(tmp_path):
    first, second = everything(tmp_path / "a" / "run"), everything(tmp_path / "b" / "run", 60)
    (second / "es_recipe.yaml").write_text("model_name_or_path: Qwen/Qwen2.5-0.5B\nlearning_rate: 2.0e-06\n")
    shutil.rmtree(second / "eval-gsm8k")
    write_evaluation(second / "eval-gsm8k", better=0.2)
    third = write_records(tmp_path / "c", [record(at, target=None, error=None) for at in range(20)])
    path = write_comparison([first, second, third], tmp_path / "compare.html")
    assert path == tmp_path / "compare.html"
    page = Page(path)
    assert list(page.specs) == ["entropy", "reward", "completion_tokens", "control_share", "pass_over_k"]
    for spec in page.specs.values():
        alt.Chart.from_dict(json.loads(json.dumps(spec)), validate=True)
    sizes = {"a/run": 40, "b/run": 60, str(tmp_path.name) + "/c": 20}
    found = [row["run"] for row in page.data("entropy")]
    assert {name: found.count(name) for name in dict.fromkeys(found)} == sizes
    assert {row["name"] for row in page.data("pass_over_k")} == {"a/run, gsm8k", "b/run, gsm8k"}
    cells = "|".join(page.cells)
    assert "learning_rate|1e-06|2e-06|no recipe" in cells and "model_name_or_path" not in cells
    row = page.cells[page.cells.index("b/run") :]
    assert (row[1], row[5]) == ("60", "0.081 → 0.908")
