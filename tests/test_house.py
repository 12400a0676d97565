"""How the package is built: which folder may import which, how large a file may be, and what says where things go."""

import ast
import json
import re
import statistics
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from launching import ROOT, environment
from package_source import FOLDERS, IMPORTS, MODULES, OTHERS, TREES, functions, parameters, reached


BELOW_CONFIG = {"common", "estimates", "control", "actuators", "curriculum", "rewards"}
BELOW_TRAINER = {*BELOW_CONFIG, "config", "tracking", "hub", "checkpoints"}
BELOW_COMMANDS = {*BELOW_TRAINER, "report", "trainer", "data", "recipe", "run", "planning"}
MAY_IMPORT = {  # folders, and modules that stand in none; each may import itself
    "common": set(),
    "estimates": {"common"},
    "control": {"common"},
    "rewards": {"common"},
    "micro_batches": {"common"},
    "actuators": {"common", "control", "estimates"},
    "curriculum": {"common", "control"},
    "config": BELOW_CONFIG,
    "tracking": {*BELOW_CONFIG, "config"},
    "hub": {*BELOW_CONFIG, "config", "tracking"},
    "checkpoints": {*BELOW_CONFIG, "config", "tracking"},
    "report": BELOW_TRAINER,
    "trainer": {*BELOW_TRAINER, "micro_batches", "report"},
    "data": {*BELOW_TRAINER, "trainer"},
    "recipe": {*BELOW_TRAINER, "trainer", "data"},
    "run": {*BELOW_TRAINER, "trainer", "data", "recipe"},
    "planning": {*BELOW_TRAINER, "trainer", "data", "recipe"},
    "evaluation": {*BELOW_COMMANDS, "micro_batches"} - {"run", "planning"},
    "sweep": {*BELOW_COMMANDS, "evaluation"},
    "commands": {*BELOW_COMMANDS, "evaluation", "sweep"},
    "__main__": {"common", "commands"},
    "lab": BELOW_COMMANDS,
    "": {"common"},  # es_trl itself, whose other names load on first use
}
SIZES = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
TEST_FILES = sorted(path for folder in ("tests", "tests_vllm") for path in (ROOT / folder).glob("*.py"))
FUNCTIONS = list(functions())
LENGTHS = {place: node.end_lineno - node.lineno + 1 for place, node, _ in FUNCTIONS}


def test_every_part_has_its_place():
    assert {module.split(".")[0] for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES)
def test_import_direction(module):
    part = module.split(".")[0]
    found = {name for name in IMPORTS[module] if name.split(".")[0] not in {part, *MAY_IMPORT[part]}}
    # es_trl itself holds its version and names that load on first use, which count where they stand
    assert found <= {""}, f"{part} may not import {found}"


def test_no_cycle():
    try:
        order = list(TopologicalSorter({name: set(names) - {name} for name, names in IMPORTS.items()}).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("module", [module for module in MODULES if module.split(".")[0] in ("control", "common")])
def test_control_needs_no_torch(module):
    if module.startswith("common"):
        assert not OTHERS[module] & {"trl", "transformers"}
        return
    needed = set().union(*(OTHERS[name] for name in reached(module)))
    assert needed - set(sys.stdlib_module_names) <= {"numpy", "rich"}


@pytest.mark.slow
def test_control_loads_without_torch():
    control = [f"es_trl.{module}" for module in MODULES if module.startswith("control")]
    assert len(control) > 10
    code = f"import sys, json, {', '.join(control)}; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert set(control) <= loaded and not {"torch", "trl", "transformers", "accelerate", "datasets"} & loaded


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_its_files_are_for(folder):
    said = ast.get_docstring(TREES[folder])
    files = {path.stem for name, path in MODULES.items() if name.rpartition(".")[0] == folder}
    # one line per file that begins with its name, or two names on a line
    named = re.findall(r"^(?:- )?`?(\w+)(?:\.py)?`?(?:, `?(\w+)\.py`?)?(?::|  )", said, re.MULTILINE)
    assert files and files - {name for names in named for name in names} == set()


def test_sizes_of_files():
    assert {name: size for name, size in SIZES.items() if size > 300} == {}
    assert statistics.median(SIZES.values()) <= 120
    sizes = {path.name: len(path.read_text().splitlines()) for path in TEST_FILES}
    assert len(sizes) > 100 and {name: size for name, size in sizes.items() if size > 300} == {}


def test_sizes_of_functions():
    assert len(LENGTHS) > 500
    assert {place: length for place, length in LENGTHS.items() if length > 60} == {}
    assert statistics.quantiles(LENGTHS.values(), n=20)[-1] <= 40
    counts = {place: len(parameters(node, bound)) for place, node, bound in FUNCTIONS}
    assert {place: count for place, count in counts.items() if count > 7} == {}


def test_everything_is_typed():
    untyped = [place for place, node, _ in FUNCTIONS if node.returns is None and node.name != "__init__"]
    untyped += [
        f"{place}({parameter.arg})"
        for place, node, bound in FUNCTIONS
        for parameter in parameters(node, bound)
        if parameter.annotation is None
    ]
    assert untyped == []


def test_test_modules_do_not_import_each_other():
    imported = {
        (path.name, name)
        for path in TEST_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
        )
        if isinstance(name, str) and name.startswith("test_")
    }
    assert imported == set()
