"""Who imports whom: the science knows no search, and each big dependency has its one place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(f for package in ("sprite_search", "trainers") for f in (ROOT / package).rglob("*.py"))
OURS = {"sprite_search", "trainers"}

#: Dependency -> the only places that may import it.
PLACES = {
    "ray": ("sprite_search/study/", "sprite_search/trial.py"),
    "optuna": ("sprite_search/study/",),
    "mlflow": ("sprite_search/tracking/", "sprite_search/registry.py", "sprite_search/pyfunc_model.py"),
    "click": ("sprite_search/cli.py", "sprite_search/options.py"),
    "yaml": ("sprite_search/",),
    "plotly": ("sprite_search/report/",),
    "rich": ("sprite_search/console.py", "sprite_search/printing.py"),
}

#: Packages that may not be imported when a module is: they make `--help` slow.
#: Packages that one module of the science imports when it must.
OPTIONAL = {"digits": {"sklearn"}, "hdf5": {"h5py"}}
LAZY = {"torch", "ray", "mlflow", "optuna", "pandas", "sklearn", "matplotlib", "plotly"}

#: What the science may use besides the standard library; digits come with scikit-learn.
SCIENCE = {"torch", "numpy", "scipy", "torchvision", "PIL"}


def imports(file: Path, *, top: bool = False) -> set[str]:
    """Dotted names that a module imports; with `top`, only those at import time."""
    tree = ast.parse(file.read_text())
    nodes = ast.walk(tree) if not top else _at_import_time(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = file.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def _at_import_time(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _at_import_time(node)


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", MODULES, ids=name)
def test_each_big_dependency_stays_in_its_place(file):
    for package in packages(imports(file)) & set(PLACES):
        assert name(file).startswith(PLACES[package]), f"{name(file)} imports {package}"


@pytest.mark.parametrize("file", [f for f in MODULES if name(f).startswith("trainers/")], ids=name)
def test_the_science_imports_only_itself_relatively_and_its_few_packages(file):
    import sys

    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert packages({node.module}).isdisjoint(OURS), f"{name(file)} imports its own package absolutely"
        if isinstance(node, ast.Import):
            assert packages({a.name for a in node.names}).isdisjoint(OURS)
    foreign = packages(imports(file)) - set(sys.stdlib_module_names) - OURS
    allowed = SCIENCE | OPTIONAL.get(file.stem, set())
    assert foreign <= allowed, f"{name(file)} imports {foreign - allowed}"
    assert "sprite_search" not in packages(imports(file))


def test_only_the_trial_trains():
    callers = {
        name(f)
        for f in MODULES
        if name(f).startswith("sprite_search/") and imports(f) & {"trainers.train", "trainers.training.train"}
    }
    assert callers == {"sprite_search/trial.py"}


@pytest.mark.parametrize("file", [f for f in MODULES if "/selection/" in name(f)], ids=name)
def test_selection_sees_tables_only(file):
    found = imports(file)
    assert packages(found).isdisjoint({"torch", "ray", "mlflow", "optuna", "pandas"})
    assert {i for i in found if i.startswith("sprite_search.")} <= {
        i for i in found if i.startswith("sprite_search.selection")
    }


@pytest.mark.parametrize(
    "file",
    [f for f in MODULES if name(f).startswith("sprite_search/") and f.parent.name not in ("study",)],
    ids=name,
)
def test_what_the_command_line_imports_first_is_light(file):
    if file.name in ("trial.py", "pyfunc_model.py", "tuning.py"):
        return  # workers and served models import these, never the command line
    assert packages(imports(file, top=True)).isdisjoint(LAZY), name(file)
