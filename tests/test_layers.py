"""Who may import whom: the table of docs/architecture.md, held against every import statement of the project."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "slowfast_mvit"
LAYER_0 = {"ops", "batches", "pictures", "errors"}
LAYER_1 = {"models", "data", "evaluation", "weights", "config"}
MAY_IMPORT = {
    **dict.fromkeys(LAYER_0, LAYER_0),
    **dict.fromkeys(LAYER_1, LAYER_0),
    "tasks": LAYER_0 | {"evaluation"},
    "engine": LAYER_0 | {"weights"},
    "build": LAYER_0 | LAYER_1 | {"tasks", "engine"},
    "report": LAYER_0 | LAYER_1 | {"tasks", "engine", "build"},
    "demo_page": LAYER_0 | LAYER_1 | {"tasks", "engine", "build", "report"},
    "benchmark": LAYER_0 | LAYER_1 | {"tasks", "engine", "build"},
}
TOP_FILES = {"__init__", "demo", "env"}  # above all rooms
FOR_ALL_TOOLS = {"config.load", "errors"}
# The room that a tool is about; run_net is about a whole job, whose errors it catches, and whose log and report it shows.
TOOL_ROOMS = {
    "run_net": {"data.video", "engine.log", "report.page"},
    "draw_detections": {"data.video"},
    "predict": {"data.video", "engine.log", "engine.huge_pages", "report.prediction_page", "report.predicted_files"},
}
HEAVY = ("torchvision", "pandas", "av", "pytorchvideo.models", "pytorchvideo.data")
NO_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}

MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))
TOOLS = sorted((ROOT / "tools").glob("*.py"))


def imported(source, module=""):
    """Full names of all that a source imports, wherever the statement stands; `from a import b` gives a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*module.split(".")[: -node.level], base]))
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def ours(names):
    """Places inside the package, without its name."""
    return {name.removeprefix(f"{PACKAGE}.") for name in names if name.startswith(f"{PACKAGE}.")}


def trespasses(source, module):
    """Rooms that a module (`data.clips`) imports and must not."""
    room = module.split(".")[0]
    rooms = {name.split(".")[0] for name in ours(imported(source, f"{PACKAGE}.{module}"))}
    return sorted(rooms - MAY_IMPORT[room] - {room})


def name_of(path):
    return ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)


def short(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_rooms_import_only_what_they_may(path):
    module = name_of(path)
    if module in TOP_FILES:
        return
    assert module.split(".")[0] in MAY_IMPORT, "a room that the table does not know"
    assert trespasses(path.read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("from slowfast_mvit.config.load import load_config", "models.mvit", ["config"]),
        ("import slowfast_mvit.data.clips as c", "evaluation.multiview", ["data"]),
        ("def f():\n    from slowfast_mvit.engine import loop", "tasks.classify", ["engine"]),
        ("if TYPE_CHECKING:\n    from slowfast_mvit.models.mvit import MViT", "engine.loop", ["models"]),
        ("from ..data import clips", "config.load", ["data"]),
        ("from .. import data", "config.load", ["data"]),
        ("from . import kinetics\nfrom slowfast_mvit.ops.spatial import resize", "data.clips", []),
        ("from slowfast_mvit import evaluation", "tasks.classify", []),
        (
            "from slowfast_mvit.errors import UserError\nfrom slowfast_mvit.tasks import classify",
            "ops.spatial",
            ["tasks"],
        ),
    ],
)
def test_trespasses_are_found(source, module, found):
    assert trespasses(source, module) == found


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).split(".")[0] in LAYER_0], ids=short)
def test_layer_0_needs_torch_and_numpy_only(path):
    roots = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
    assert roots - set(sys.stdlib_module_names) <= {"torch", "numpy", PACKAGE}


def test_config_needs_no_torch():
    """Neither the config nor anything of ours that it imports, directly or not."""
    sources = {name_of(path): path.read_text(encoding="utf-8") for path in MODULES}
    reached, waiting = set(), [name for name in sources if name.split(".")[0] == "config"]
    assert waiting
    while waiting:
        module = waiting.pop()
        names = imported(sources[module], f"{PACKAGE}.{module}")
        assert not {name for name in names if name.split(".")[0] in ("torch", "torchvision")}, module
        reached.add(module)
        waiting += [name for name in ours(names) if name in sources and name not in reached]


@pytest.mark.parametrize("path", TOOLS, ids=short)
def test_tools_stay_thin(path):
    tree = ours(imported(path.read_text(encoding="utf-8")))
    modules = {name for name in tree if (ROOT / PACKAGE / f"{name.replace('.', '/')}.py").is_file()}
    inner = {name for name in modules if name not in FOR_ALL_TOOLS and not name.startswith("build.")}
    inner -= TOOL_ROOMS.get(path.stem, set())
    assert len({name.split(".")[0] for name in inner}) <= 1, f"{sorted(inner)}: a tool is about one room"


def test_nothing_imports_tools():
    for path in MODULES:
        roots = {name.split(".")[0] for name in imported(path.read_text(encoding="utf-8"))}
        assert not roots & {"tools", "tests", *(tool.stem for tool in TOOLS)}, short(path)


def test_the_package_is_light():
    code = f"import sys, slowfast_mvit; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_public_names_are_there():
    import slowfast_mvit

    assert all(getattr(slowfast_mvit, name) for name in slowfast_mvit.__all__)
    assert set(slowfast_mvit.__all__) <= set(dir(slowfast_mvit))
    with pytest.raises(AttributeError, match="has no attribute 'create_modle'"):
        slowfast_mvit.create_modle  # noqa: B018


def test_names_say_something():
    named = [*MODULES, *TOOLS, *(ROOT / "tests").rglob("*.py")]
    assert [short(p) for p in named if NO_NAMES & {p.stem, p.stem.removeprefix("test_"), p.parent.name}] == []
