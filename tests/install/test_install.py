"""Installing a role: what is packed, and the whole of it over a real sshd."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from minimoto.clock import SystemClock
from minimoto.config import dump
from minimoto.errors import InstallFailed
from minimoto.install import StepReport, find_source_tree, install_role, pack, project_files
from minimoto.ssh import SshMachine, connect
from minimoto.verify import CHECKS

from .sshd import Sshd
from .stub_python import stub_python
from .test_script import CONFIG

SECRETS = (
    "configure.ini",
    "minimoto/configure.ini",
    "minimoto/trip.pem",
    "minimoto/id_ed25519",
    "minimoto/credentials",
    "minimoto/.env",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project with what must not leave it."""
    tree = tmp_path / "project"
    for name in (
        "minimoto/__init__.py",
        "minimoto/core/job.py",
        "minimoto/core/__pycache__/job.pyc",
        "minimoto/data/font.bin",
        "minimoto_client.py",
        "minimoto_install.sh",
        "run_service.sh",
        "service.cron",
        "pyproject.toml",
        "README.md",
        "tests/test_it.py",
        "docs/secret.md",
        *SECRETS,
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("#!/bin/sh\n" if name.endswith(".sh") else name)
    return tree


WANTED = (
    "README.md",
    "minimoto/__init__.py",
    "minimoto/core/job.py",
    "minimoto/data/font.bin",
    "minimoto_client.py",
    "minimoto_install.sh",
    "pyproject.toml",
    "run_service.sh",
    "service.cron",
)


def test_the_package_and_its_scripts_are_sent_and_no_secret(tree: Path) -> None:
    assert project_files(tree) == WANTED


def test_in_a_checkout_what_git_ignores_stays_at_home(tree: Path) -> None:
    subprocess.run(["git", "-c", "init.defaultBranch=main", "init"], cwd=tree, check=True, capture_output=True)
    assert project_files(tree) == WANTED
    (tree / "minimoto/notes.txt").write_text("mine")
    (tree / ".gitignore").write_text("notes.txt\n")
    assert project_files(tree) == WANTED


def test_the_same_files_make_the_same_archive(tree: Path, tmp_path: Path) -> None:
    pack(tree, tmp_path / "one")
    shutil.copytree(tree, tmp_path / "copy")
    pack(tmp_path / "copy", tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with tarfile.open(tmp_path / "one") as tar:
        modes = {entry.name: entry.mode for entry in tar}
    assert tuple(modes) == WANTED
    assert modes["minimoto_install.sh"] == 0o755
    assert modes["README.md"] == 0o644


def test_the_project_itself_can_be_packed(tmp_path: Path) -> None:
    names = set(project_files(find_source_tree()))
    assert {"minimoto/install.py", "minimoto_install.sh", "run_service.sh", "service.cron", "watchdog.cron"} <= names
    assert not {name for name in names if name.startswith(("tests/", "docs/", "benchmarks/", "."))}


def test_a_program_without_its_scripts_says_where_to_start(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match=r"run minimoto_setup\.py in a checkout of minimoto"):
        find_source_tree(tmp_path)


class Remote:
    """A machine whose installation goes below a prefix and whose pip is a stand-in."""

    def __init__(self, sshd: Sshd, tmp_path: Path, project: Path) -> None:
        self.project = project
        self.prefix, self.temporary = tmp_path / "root", tmp_path / "remote-tmp"
        self.temporary.mkdir()
        self.sshd, self.python, self.shown = sshd, stub_python(tmp_path / "python-stub"), list[str]()
        self.options = ("--prefix", str(self.prefix), "--no-system")

    def start(self, **environ: str) -> SshMachine:
        names = {"MINIMOTO_PYTHON": str(self.python), "TMPDIR": str(self.temporary), **environ}
        self.sshd.start("SetEnv " + " ".join(f'"{name}={value}"' for name, value in names.items()))
        return connect(self.sshd.login(), SystemClock(), role="service", echo=self.shown.append)

    def install(self, machine: SshMachine, role: str, settings: str | None = None) -> tuple[StepReport, ...]:
        return install_role(
            machine, role, self.project, SystemClock(), settings=settings, options=self.options, root=False
        )


@pytest.fixture
def remote(idle_sshd: Sshd, tmp_path: Path, project: Path) -> Remote:
    return Remote(idle_sshd, tmp_path, project)


def test_a_role_is_installed_over_ssh_and_every_piece_reported(remote: Remote) -> None:
    with closing(remote.start()) as machine:
        steps = remote.install(machine, "service", dump(CONFIG))
    names = [step.name for step in steps]
    assert names[:2] == ["send", "install"]
    assert set(names[2:]) == {f"check {check.__name__.removeprefix('check_')}" for check in CHECKS["service"]}
    assert all(step.seconds >= 0 for step in steps)
    assert "deployment trip" in {step.detail for step in steps}
    assert "[service 127.0.0.1] minimoto_install: service: 7 steps changed something" in remote.shown
    assert list(remote.temporary.iterdir()) == []


def test_a_failing_step_is_named_with_its_stderr(remote: Remote) -> None:
    failing = remote.start(PIP_STUB_FAILS="No matching distribution found")
    with closing(failing) as machine, pytest.raises(InstallFailed) as caught:
        remote.install(machine, "service")
    assert str(caught.value) == (
        "service 127.0.0.1: installing service: environment failed (exit status 1): "
        "ERROR: No matching distribution found"
    )
    assert "ERROR: No matching distribution found" in caught.value.stderr
    assert "[service 127.0.0.1] ERROR: No matching distribution found" in remote.shown
    assert list(remote.temporary.iterdir()) == []


def test_a_piece_that_fails_is_named(remote: Remote) -> None:
    with closing(remote.start()) as machine, pytest.raises(InstallFailed) as caught:
        remote.install(machine, "watchdog")
    assert str(caught.value).startswith("service 127.0.0.1: installing watchdog: check configuration: FAILED: ")
    assert "configure.ini" in str(caught.value)


def test_a_connection_that_drops_while_it_installs_is_one_clear_error(remote: Remote) -> None:
    machine = remote.start()
    show = remote.shown.append

    def echo(line: str) -> None:
        show(line)
        if "program: version" in line:
            remote.sshd.kill_connections()

    with closing(connect(remote.sshd.login(), SystemClock(), role="service", echo=echo)) as dropping:
        machine.close()
        with pytest.raises(InstallFailed, match="the connection dropped during installing service"):
            remote.install(dropping, "service")
