"""Scripts outside the package import only names that the package has, also inside functions."""

import ast
import importlib

import pytest
from launching import ROOT


FOLDERS = ("benchmarks", "examples", "experiments", "recipes")
SCRIPTS = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_imported_name_exists(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "es_trl":
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), f"{node.module} has no {name.name}"
