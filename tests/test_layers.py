"""Layers of the package: imports go down only, scoring loads no training, modules and signatures are short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cfa_lite

PACKAGE = Path(cfa_lite.__file__).parent
MODULES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(text) for name, text in MODULES.items()}

MAX_LINES, MAX_PARAMETERS = 300, 8
ESTIMATORS = ("CFA", "PublishedCFA")  # their constructors have every parameter, as in scikit-learn

SCORE = """
import sys
import cfa_lite
cfa_lite.load(sys.argv[1]).inspect(sys.argv[2]).verdict
print(*sys.modules, sep="\\n")
"""


def test_contracts_of_pyproject_hold(pytestconfig):
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_scoring_loads_neither_training_nor_unneeded_packages(part, line):
    done = subprocess.run([sys.executable, "-c", SCORE, part, line[0]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"cfa_lite.estimator", "cfa_lite.inference.scorer"} <= loaded
    rooms = {name.split(".")[1] for name in loaded if name.startswith("cfa_lite.")}
    assert (
        rooms & {"training", "teaching", "published", "commands", "report", "evaluation", "distributed", "demo"}
        == set()
    )
    assert loaded & {"sklearn", "click", "joblib", "dask", "distributed"} == set()


def top_level_imports(tree):
    """Return the packages that a module imports when it is imported, without imports for type checkers."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("name", MODULES)
def test_optional_and_slow_packages_are_imported_lazily(name):
    assert set(top_level_imports(TREES[name])) & {"sklearn", "dask", "distributed", "joblib"} == set()


@pytest.mark.parametrize("name", MODULES)
def test_length_of_a_module(name):
    assert len(MODULES[name].splitlines()) <= MAX_LINES


def functions(node, inside=None):
    """Yield each function below a node, with the name of its class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield inside, child
        yield from functions(child, child.name if isinstance(child, ast.ClassDef) else None)


def n_parameters(function, inside):
    given = function.args
    n = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    is_static = any(ast.unparse(decorator) == "staticmethod" for decorator in function.decorator_list)
    return n - (inside is not None and not is_static)


def is_command(function):
    return any(".command(" in ast.unparse(decorator) for decorator in function.decorator_list)


@pytest.mark.parametrize("name", MODULES)
def test_number_of_parameters(name):
    many = {
        f"{inside}.{function.name}" if inside else function.name: n_parameters(function, inside)
        for inside, function in functions(TREES[name])
        if n_parameters(function, inside) > MAX_PARAMETERS
        and not is_command(function)
        and not (inside in ESTIMATORS and function.name == "__init__")
    }
    assert many == {}
