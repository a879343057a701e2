"""Imports flow one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minimoto"
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))
ADAPTERS = ("minimoto.aws", "minimoto.local", "minimoto.memory")
HEAVY = {"torch", "openvino", "safetensors", "cv2", "PIL", "boto3", "botocore", "moto", "paramiko", "rich", "numpy"}
HEAVY |= {"pillow_heif", "werkzeug"}

INSIDE = ("alarms", "fleets", "groups", "instances", "quick", "seed", "usage", "wire")
INSIDE_THE_EMBEDDED_AWS = {f"minimoto.local.{name}" for name in INSIDE}
"""Imported late themselves, by what starts the server."""

# A module that begins with the first entry may import from ours only what begins with one of the others.
ALLOWED = {
    "minimoto.errors": (),
    "minimoto.core": ("minimoto.core", "minimoto.errors"),
    "minimoto.ports": ("minimoto.core",),
    "minimoto.engines": (
        "minimoto.engines",
        "minimoto.media",
        "minimoto.media_write",
        "minimoto.errors",
        "minimoto.core",
    ),
    "minimoto.steps": (
        "minimoto.steps",
        "minimoto.engines",
        "minimoto.media",
        "minimoto.media_write",
        "minimoto.errors",
        "minimoto.core",
    ),
    "minimoto.memory": ("minimoto.memory", "minimoto.core", "minimoto.ports", "minimoto.errors", "minimoto.config"),
}


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Modules that a file imports: anywhere in it, or only when it is itself imported."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    nodes = _loaded(tree.body) if top_level else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def _loaded(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run on import: not those of functions, nor below ``if TYPE_CHECKING``."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, ast.If):
            checking = "TYPE_CHECKING" in ast.dump(node.test)
            found += _loaded(node.orelse if checking else [*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            found += _loaded([*node.body, *node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)])
        elif isinstance(node, ast.ClassDef | ast.With):
            found += _loaded(node.body)
    return found


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def begins(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_flow_one_way(path: Path) -> None:
    name = name_of(path)
    ours = {module for module in imports(path) if module.startswith("minimoto.")}
    for layer, allowed in ALLOWED.items():
        if begins(name, (layer,)):
            # "from minimoto.core.job import Job" is seen as the module and as the module's name "Job".
            bad = {module for module in ours if not begins(module, allowed)}
            assert not bad, f"{name} may not import {bad}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_wiring_names_the_implementations(path: Path) -> None:
    name = name_of(path)
    if begins(name, (*ADAPTERS, "minimoto.wiring")):
        return
    named = {module for module in imports(path) if begins(module, ("minimoto.aws", "minimoto.memory"))}
    if name in {"minimoto.cli.setup", "minimoto.cli.cleanup"}:
        named = {module for module in named if not begins(module, ("minimoto.aws.resources",))}
    assert not named, f"{name} names {named}; only wiring chooses implementations"


@pytest.mark.parametrize("path", [p for p in MODULES if not begins(name_of(p), ("minimoto.engines",))], ids=str)
def test_heavy_libraries_are_imported_late(path: Path) -> None:
    roots = {module.partition(".")[0] for module in imports(path, top_level=True)}
    if begins(name_of(path), ("minimoto.aws",)):
        roots -= {"boto3", "botocore"}
    if name_of(path) in INSIDE_THE_EMBEDDED_AWS:
        roots -= {"moto", "werkzeug"}
    assert not roots & HEAVY


@pytest.mark.parametrize("script", sorted(ROOT.glob("minimoto_*.py")), ids=lambda path: path.name)
def test_a_command_imports_nothing_heavy_to_show_its_help(script: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(script)!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally:\n    print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("script", sorted(ROOT.glob("minimoto_*.py")), ids=lambda path: path.name)
def test_a_top_level_script_is_one_call(script: Path) -> None:
    assert len(script.read_text("utf-8").splitlines()) <= 40
