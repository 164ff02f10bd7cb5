"""The shape of the package: imports point one way, optional backends load only on use, public names are pinned."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import neurofault

PACKAGE = Path(neurofault.__file__).parent

LAYERS = (
    ("errors", "specmistakes", "specnodes", "numerals", "brief", "files", "specfile", "streams"),
    (
        "progress",
        "digest",
        "cache",
        "compiled",
        "kernel_sources",
        "vector_code",
        "cores",
        "frames",
        "plotting",
        "importing",
        "logs",
        "hdf5_child",
        "hdf5_file",
    ),
    ("arrays", "graph", "spikes", "inputs", "damage"),
    ("activity", "metrics", "data", "zoo"),
    ("convert",),
    ("deploy",),
    ("faults", "engines", "learning"),
    ("rescue", "lava"),
    ("study",),
    ("papers", "examples"),
    ("cli", "__main__"),
)
"""Modules and folders from the bottom to the top; each imports only from its own layer or one below."""

RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

APART = (("faults", "engines"),)
"""Neighbours in a layer that never import each other."""


def imported(file: Path) -> Iterator[str]:
    """Yield the part that each import in a file names, functions' included; ``""`` is the package itself."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module="neurofault"):
                yield from (alias.name if alias.name in RANK else "" for alias in node.names)
            case ast.ImportFrom(module=str(module)) if module.startswith("neurofault."):
                yield module.split(".")[1]
            case ast.Import(names=names):
                parts = [name.name.split(".") for name in names]
                yield from ("".join(rest[:1]) for first, *rest in parts if first == "neurofault")


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def test_every_part_has_its_place():
    assert {part_of(file) for file in MODULES} <= set(RANK)


def test_imports_point_one_way():
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {part or 'the package itself'}"
        for file in MODULES
        for part in imported(file)
        if RANK.get(part, len(LAYERS) - 1) > RANK[part_of(file)]
        or any(part != part_of(file) and {part, part_of(file)} == set(pair) for pair in APART)
    ]
    assert wrong == []


def module_of(file: Path) -> str:
    parts = ("neurofault", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rests_on(file: Path) -> set[str]:
    """Return the modules that a file imports when it is loaded or later, type checks left out."""
    known = {module_of(each) for each in MODULES}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)):
                found |= {name if name in known else module for name in (f"{module}.{alias.name}" for alias in node.names)}
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
    return (found & known) - {module_of(file)}


def test_no_module_rests_on_itself_by_way_of_others_not_even_by_a_late_import():
    waiting = {module_of(file): rests_on(file) for file in MODULES}
    while free := [module for module, needs in waiting.items() if not needs & set(waiting)]:
        for module in free:
            del waiting[module]
    assert {module: sorted(needs & set(waiting)) for module, needs in waiting.items()} == {}


def test_no_two_classes_share_a_name():
    places: dict[str, list[str]] = {}
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(file.relative_to(PACKAGE)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


NEIGHBOURS = re.compile(
    r"\b(?:layers|populations|connections|links|chain|orders|base|single_layers|place_of|sizes?|weights)\[[^\]:]*\b(?:index|layer|place)\s*[-+]\s*1\b"
    r"|\b(?:layers|populations|connections|links)\[(?:1:|-1\]|:-1\])"
)
"""A neighbour, or an end, found by its position in a list."""


def test_neighbours_are_found_by_position_only_where_the_first_line_says_that_there_is_a_chain():
    """The founding paper's networks of floats are stacks of matrices, not graphs; ``graph/`` makes chains and takes them apart."""
    wrong = [
        f"{file.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for file in MODULES
        if part_of(file) not in ("graph", "papers") and "chain" not in file.read_text(encoding="utf-8").split("\n", 1)[0].lower()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if NEIGHBOURS.search(line)
    ]
    assert wrong == []


def test_no_module_is_longer_than_400_lines():
    lengths = {str(file.relative_to(PACKAGE)): len(file.read_text(encoding="utf-8").splitlines()) for file in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_relative_imports():
    relative = [
        file.name
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


HEAVY = (
    "torch",
    "numba",
    "lava",
    "brian2",
    "snntorch",
    "nir",
    "dask",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "pooch",
    "rich",
    "typer",
)


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_no_optional_or_heavy_library():
    assert loaded_by("import neurofault") == set()


def test_a_name_that_needs_a_heavy_library_loads_it_on_use():
    assert "torch" in loaded_by("import neurofault; neurofault.from_torch")


def test_a_profile_is_read_without_heavy_libraries():
    assert loaded_by("import neurofault; neurofault.load_profile('loihi2')") == set()


PUBLIC = [
    "Network", "Population", "Connection", "Readout", "CubaLif", "Source", "Dense", "Conv", "Sparse", "Schedule", "chain",
    "from_torch", "Scaling", "from_snntorch", "from_nir", "from_netx", "from_lava", "to_nir", "to_netx", "to_sanafe",
    "HardwareProfile", "load_profile", "deploy", "search_placement", "Deployment", "save", "load",
    "protect",
    "faults", "inject",
    "Inputs", "Bias", "Spikes", "State", "run", "unit_of", "Result", "Activity",
    "rescue", "Budget", "Plan", "Guard", "Rescued",
    "choose_patterns", "apply_patterns", "PatternSet", "save_patterns", "load_patterns", "fault_dictionary", "diagnose",
    "choose_alarms", "with_alarms", "watch", "try_alarms", "AlarmSet", "save_alarms", "load_alarms",
    "atlas", "AtlasResults", "robustness", "Robustness", "neurobench_model", "neurobench_metric",
    "campaign", "CheckedCampaign", "CampaignResults", "to_log",
    "errors",
]  # fmt: skip
"""In the order of the pipeline."""


def test_public_names_are_pinned():
    assert neurofault.__all__ == PUBLIC
    assert dir(neurofault) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    if name == "from_lava":
        pytest.importorskip("lava")
    assert getattr(neurofault, name) is not None


@pytest.mark.parametrize("name", [name for name in PUBLIC if name[0].islower() and name not in ("faults", "errors")])
def test_every_public_function_says_what_it_takes_and_raises_and_shows_it(name):
    if name == "from_lava":
        pytest.importorskip("lava")
    text = inspect.getdoc(getattr(neurofault, name))
    assert "Args:" in text
    assert "Raises:" in text
    assert ">>> " in text


def shown_by(name: str) -> Iterator[tuple[str, object]]:
    """Yield a public name and, of a class, its own public methods."""
    public = getattr(neurofault, name)
    yield name, public
    if inspect.isclass(public):
        for method, made in vars(public).items():
            function = made.__func__ if isinstance(made, classmethod | staticmethod) else made
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{method}", function


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in ("faults", "errors")])
def test_every_public_name_and_method_shows_itself_in_an_example(name):
    """``help()`` ends in something that runs: the examples are doctests of their modules."""
    if name == "from_lava":
        pytest.importorskip("lava")
    assert [of for of, one in shown_by(name) if ">>> " not in (inspect.getdoc(one) or "")] == []


@pytest.mark.parametrize(
    ("words", "modules"),
    [
        ("import neurofault", ""),
        (
            "import neurofault.cli.app as it; it.app(['--help'], standalone_mode=False)",
            "cli cli.app cli.examples cli.output cli.verbs cli.words errors files numerals",
        ),
    ],
)
def test_neither_the_package_nor_its_help_loads_what_computes(words, modules):
    """Seconds differ by machine: ``experiments/bench/first_run.py`` takes them. What is loaded does not."""
    code = f"import sys; {words}; print(*sys.modules, file=sys.stderr)"
    found = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())
    assert {name for name in found if name.startswith("neurofault.")} == {f"neurofault.{name}" for name in modules.split()}
    assert found.isdisjoint({"numpy", "yaml", "pydantic", "numba", "torch"})


def test_a_name_that_is_not_public_is_refused():
    with pytest.raises(AttributeError, match=r"^module 'neurofault' has no attribute 'nonsense'$"):
        _ = neurofault.nonsense


@pytest.mark.parametrize("folder", ["experiments", "experiments/bench", "experiments/full"])
def test_no_script_is_taken_for_a_package(folder):
    """A script's folder comes first on its path: a ``coverage.py`` there is what numba imports, if it can, under that name."""
    root = Path(__file__).parents[1]
    script = "import sys; sys.path.insert(0, sys.argv[1]); import numba, scipy.stats, neurofault.engines.exact.engine"
    done = subprocess.run([sys.executable, "-c", script, root / folder], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
