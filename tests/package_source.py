"""The package as its source has it: modules, what each imports, and their functions, for tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import es_trl


PACKAGE = Path(es_trl.__file__).parent


def module_name(path: Path) -> str:
    """Return the dotted name within the package; a folder's is that of its `__init__`, the package's own is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
FOLDERS = sorted(name for name, path in MODULES.items() if name and path.name == "__init__.py")


def lazy_names(module: str) -> dict[str, str]:
    """Return the names that a package loads on first use, each with its module."""
    for node in TREES[module].body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "_MODULES":
            places = ast.literal_eval(node.value)
            return {name: f"{module}.{place}".lstrip(".") for name, place in places.items()}
    return {}


def imported(module: str) -> Iterator[tuple[str, bool]]:
    """Yield what a module imports anywhere in it, and whether that is of the package."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                own = alias.name.split(".")[0] == "es_trl"
                yield (alias.name.removeprefix("es_trl").lstrip(".") if own else alias.name), own
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if not node.level and name.split(".")[0] != "es_trl":
                yield name, False
                continue
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level and package else []
            source = ".".join([*above, name]).strip(".") if node.level else name.removeprefix("es_trl").lstrip(".")
            for alias in node.names:
                whole = f"{source}.{alias.name}".lstrip(".")
                # a module of a package, a name that it loads on first use, or a name that stands in it
                yield (whole if whole in MODULES else lazy_names(source).get(alias.name, source)), True


IMPORTS = {module: sorted({name for name, own in imported(module) if own}) for module in MODULES}
OTHERS = {module: {name.split(".")[0] for name, own in imported(module) if not own} for module in MODULES}


def reached(module: str) -> set[str]:
    """Return the modules that an import of this one loads or may load later, itself and its packages included."""
    found, open_ends = set(), [module]
    while open_ends:
        if (name := open_ends.pop()) not in found:
            found.add(name)
            open_ends += [*IMPORTS[name], *([name.rpartition(".")[0]] if name else [])]
    return found


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Yield every function with its place and whether its first parameter is the object or the class."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    static = "staticmethod" in {getattr(mark, "id", None) for mark in child.decorator_list}
                    yield f"{module}:{child.lineno} {child.name}", child, isinstance(node, ast.ClassDef) and not static


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool) -> list[ast.arg]:
    """Return the parameters, `*args` and `**kwargs` included, without `self`."""
    named = function.args
    plain = [*named.posonlyargs, *named.args][bound:]
    return [*plain, *named.kwonlyargs, *(rest for rest in (named.vararg, named.kwarg) if rest)]
