"""How a command ends where this Python lacks what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from minimoto import config
from minimoto.cli import entry
from minimoto.config import Config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["setup", "client", "service", "watchdog", "cleanup"])
def test_a_python_without_the_packages_is_told_how_to_get_them(script: str, tmp_path: Path) -> None:
    """As on a laptop where the environment was not activated: no folder of packages is on the path."""
    words = {"client": [str(tmp_path)], "setup": ["--dry-run"]}.get(script, [])
    settings = Config(name="trip", queue_url="https://sqs.us-east-1.amazonaws.com/1/q", bucket_input="in", table="t")
    config.save(settings, tmp_path / "configure.ini")
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / f"minimoto_{script}.py"), *words],
        check=False,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"minimoto_{script}.py: this Python lacks the package ")
    assert line.endswith(f"-m pip install {ROOT}")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(("package", "brings"), [("torch", "minimoto[torch]"), ("yaml.loader", "minimoto")])
def test_what_a_plain_installation_does_not_bring_is_named(
    package: str, brings: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> int:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(entry, "__file__", "/nowhere/minimoto/cli/entry.py")
    assert entry._with_packages(lacking, "minimoto", ["models"]) == 1
    said = capsys.readouterr().err
    assert said.rstrip().removesuffix("'").endswith(brings)
    with pytest.raises(ModuleNotFoundError):
        entry._with_packages(lacking, "minimoto", ["models", "--debug"])


def test_a_module_of_our_own_that_is_missing_is_a_mistake_of_ours() -> None:
    def lacking() -> int:
        raise ModuleNotFoundError("No module named 'minimoto.gone'", name="minimoto.gone")

    with pytest.raises(ModuleNotFoundError):
        entry._with_packages(lacking, "minimoto", [])


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in entry.EXTRAS.items():
        assert any(one.startswith((package, package.replace("_", "-"))) for one in extras[extra])
