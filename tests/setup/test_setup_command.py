"""``setup`` and ``cleanup`` as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from setup_account import PLAIN, Account, unique

from minimoto import config
from minimoto.aws.resources.installer import LocalInstaller
from minimoto.aws.resources.plan import Planned
from minimoto.aws.resources.prices import PER_HOUR, estimate
from minimoto.cli.cleanup import _forget
from minimoto.cli.entry import main
from minimoto.config import Config
from minimoto.local.laptop import laptop_config
from minimoto.wiring import Cloud

pytestmark = pytest.mark.usefixtures("afresh")

ROOT = Path(__file__).parents[2]
OUTPUTS = [
    "S3_BUCKET_INPUT",
    "S3_BUCKET_OUTPUT",
    "CLIENT_USER",
    "CLIENT_ADDR",
    "WATCHDOG_USER",
    "WATCHDOG_ADDR",
    "SERVICE_USER",
    "SERVICE_AMI",
]


@dataclass
class User:
    """Somebody with a settings file for a deployment on the embedded AWS."""

    name: str
    file: Path
    state: Path
    account: Account
    capsys: pytest.CaptureFixture[str]

    def types(self, *words: str) -> tuple[int, str, str]:
        """Runs a command in this process; exit status, stdout, stderr."""
        extra = ["--state", str(self.state)] if words[0] == "setup" else []
        status = main([words[0], "--config", str(self.file), *extra, *words[1:]])
        said = self.capsys.readouterr()
        return status, said.out, said.err

    @property
    def settings(self) -> Config:
        return config.load(str(self.file), environ={})


@pytest.fixture
def user(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> User:
    # That the program starts is seen elsewhere, by starting it.
    monkeypatch.setattr(LocalInstaller, "install", lambda self, target, config: None)
    name = unique("typed")
    file = tmp_path / "configure.ini"
    config.save(account.config(name, log_file=str(tmp_path / "minimoto.log"), max_nodes=5), file)
    return User(name, file, tmp_path / "state", account, capsys)


def test_from_nothing_to_nothing(user: User) -> None:
    before = user.account.state()
    first = user.file.read_bytes()

    status, out, _ = user.types("setup", "--dry-run")
    assert status == 0
    assert out.count("\nmake ") + out.startswith("make ") == len(PLAIN)
    assert "in all" in out
    assert "/month" in out
    assert "nothing was changed" in out
    assert user.account.state() == before
    assert user.file.read_bytes() == first

    status, out, err = user.types("setup")
    assert status == 0
    assert err.count("made     ") == len(PLAIN)
    lines = out.splitlines()
    assert lines[0] == "minimoto_setup: mandatory output messages follow"
    assert [line.partition("=")[0] for line in lines[1:]] == OUTPUTS
    values = dict(line.split("=", 1) for line in lines[1:])
    made = user.settings
    assert values["S3_BUCKET_INPUT"] == f"s3://{made.bucket_input}"
    assert values["SERVICE_AMI"] == made.service_ami
    assert values["CLIENT_ADDR"]
    assert all(values.values())
    assert config.read_output(user.file) == {name.lower(): value for name, value in values.items()}
    assert user.file.stat().st_mode & 0o777 == 0o600
    assert made.max_nodes == 5
    text = user.file.read_text()
    assert "PRIVATE" not in text
    assert "embedded" not in text.replace("embedded AWS", "")

    status, out, err = user.types("setup")
    assert status == 0
    assert "nothing to do" in err
    assert out.splitlines() == lines
    assert user.file.read_text() == text

    user.account.client("s3").put_object(Bucket=made.bucket_output, Key="film.mp4", Body=b"film")
    status, out, err = user.types("cleanup")
    assert status == 2
    assert f"s3://{made.bucket_output} holds 1 object: add --yes" in err
    assert user.types("setup")[2].count("kept     ") == len(PLAIN)

    status, out, _ = user.types("cleanup", "--keep-results")
    assert status == 0
    assert f"kept: output bucket {made.bucket_output}" in out
    assert user.settings.bucket_output == made.bucket_output
    assert user.settings.queue_url == ""
    assert not Path(made.key_file).exists()

    status, out, _ = user.types("cleanup", "--yes")
    assert status == 0
    assert "deleted 1 resource " in out
    assert user.settings == config.without_ids(config.load(str(user.file), environ={}))
    assert user.settings.max_nodes == 5
    assert user.account.state() == before

    status, out, _ = user.types("cleanup")
    assert status == 0
    assert out == f"nothing to delete of deployment {user.name} in us-east-1\n"


def test_json_is_one_document(user: User) -> None:
    _, out, _ = user.types("setup", "--dry-run", "--json")
    plan = json.loads(out)
    assert {line["action"] for line in plan["plan"]} == {"make"}
    assert plan["cost"]["monthly"] > plan["cost"]["hourly"] > 0
    _, out, _ = user.types("setup", "--json")
    answer = json.loads(out)
    assert len(answer["made"]) == len(PLAIN)
    assert [key.upper() for key in answer if key.upper() in OUTPUTS] == OUTPUTS
    status, out, _ = user.types("cleanup", "--json", "--yes")
    assert status == 0
    assert json.loads(out)["problems"] == []
    # Only the ids are gone: max_nodes is the user's.
    assert user.file.exists()


def test_a_settings_file_of_the_embedded_aws_stays_so_that_nothing_is_meant_for_aws_itself(
    account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, state = tmp_path / "configure.ini", tmp_path / "state"
    config.save(replace(laptop_config(account.url, state), name=unique("gone")), file)
    user = User("gone", file, state, account, capsys)
    assert user.types("setup")[0] == 0
    key = Path(user.settings.key_file)
    assert key.exists()
    assert user.types("cleanup")[0] == 0
    assert user.settings == config.without_ids(replace(user.settings, endpoint_url=account.url))
    assert not key.exists()
    for _ in range(2):
        assert user.types("cleanup")[1] == f"nothing to delete of deployment {user.settings.name} in us-east-1\n"


def test_a_settings_file_that_holds_nothing_else_goes_with_a_deployment_in_aws(tmp_path: Path) -> None:
    file = tmp_path / "configure.ini"
    stands = Config(name="gone", region="eu-west-1", queue_url="q", table="t")
    config.save(stands, file)
    _forget(stands, file, kept=True)
    assert config.load(str(file), environ={}) == Config(name="gone", region="eu-west-1")
    _forget(stands, file, kept=False)
    assert not file.exists()
    edited = replace(stands, max_nodes=9)
    config.save(edited, file)
    _forget(edited, file, kept=False)
    assert config.load(str(file), environ={}) == config.without_ids(edited)


def test_one_of_the_users_own_keys_is_used_and_never_deleted(user: User, tmp_path: Path) -> None:
    own = tmp_path / "id_own"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(own)], check=True)
    settings = user.settings
    config.save(replace(settings, key_file=str(own)), user.file)
    assert user.types("setup")[0] == 0
    assert user.settings.key_file == str(own)
    pairs = user.account.client("ec2").describe_key_pairs(KeyNames=[user.settings.key_file_name])["KeyPairs"]
    assert len(pairs) == 1
    assert user.types("cleanup", "--yes")[0] == 0
    assert own.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "Trip"], "cannot be a deployment's name"),
        (["--name", "a-name-of-more-than-thirty-characters"], "30 at most"),
        (["--name", "ends-with-"], "no hyphen at the end"),
        (["--name", "../x"], "cannot be a deployment's name"),
        (["--service-type", "g99.huge"], "g99.huge"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(user: User, words: list[str], said: str) -> None:
    before, text = user.account.state(), user.file.read_bytes()
    status, out, err = user.types("setup", *words)
    assert status in {1, 2}
    assert out == ""
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert user.account.state() == before
    assert user.file.read_bytes() == text


def test_a_settings_file_is_the_record_of_one_deployment(user: User) -> None:
    assert user.types("setup")[0] == 0
    text = user.file.read_bytes()
    status, _, err = user.types("setup", "--name", "another")
    assert status == 2
    assert f"is the record of deployment {user.name} in us-east-1: name another file with --config" in err
    assert user.types("setup", "--region", "eu-west-1")[0] == 2
    # Cleanup of another deployment leaves this one's record alone.
    assert user.types("cleanup", "--name", "another", "--yes")[0] == 0
    assert user.file.read_bytes() == text
    assert user.types("cleanup", "--yes")[0] == 0


def test_a_deployment_in_aws_is_no_place_for_local(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "configure.ini"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/trip-tasks-00000000"
    config.save(Config(name="trip", queue_url=url, log_file=str(tmp_path / "log")), file)
    status = main(["setup", "--config", str(file), "--local", "--state", str(tmp_path / "state")])
    assert status == 2
    assert "is the record of a deployment in AWS" in capsys.readouterr().err


class Unmade:
    """A deployment in AWS that does not exist yet."""

    def __init__(self, settings: Config) -> None:
        self.config, self.made = settings, False

    def plan(self) -> list[Planned]:
        return [Planned("make", "queue"), Planned("make", "client machine")]

    def estimate(self) -> Any:
        return estimate(self.config)

    def setup(self, save: Any, restore: Any) -> Any:
        raise AssertionError("nobody agreed")


@pytest.mark.parametrize("terminal", [False, True])
def test_what_costs_money_is_not_made_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    file = tmp_path / "configure.ini"
    config.save(Config(log_file=str(tmp_path / "log")), file)
    monkeypatch.setattr(Cloud, "deployment", lambda self, keys, say, **more: Unmade(self.config))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["setup", "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert "g5.xlarge" in said
    assert ("nothing was made" if terminal else "add --yes to make them, or --dry-run") in said.splitlines()[-1]


@pytest.mark.parametrize(("typed", "left"), [("", 2), ("k", 1), ("d", 0)])
def test_results_are_asked_about_at_a_terminal(
    user: User, monkeypatch: pytest.MonkeyPatch, typed: str, left: int
) -> None:
    before = user.account.state()
    assert user.types("setup")[0] == 0
    bucket = user.settings.bucket_output
    user.account.client("s3").put_object(Bucket=bucket, Key="film.mp4", Body=b"film")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: typed)
    status, _, err = user.types("cleanup")
    assert status == (2 if left == 2 else 0)
    if left == 2:
        assert "nothing was deleted" in err
        assert user.settings.queue_url
    buckets = user.account.state()["buckets"] - before["buckets"]
    assert len(buckets) == left
    assert user.types("cleanup", "--yes")[0] == 0
    assert user.account.state() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_interrupted_undoes_what_it_did(user: User, number: signal.Signals) -> None:
    before, text = user.account.state(), user.file.read_bytes()
    command = [sys.executable, str(ROOT / "minimoto_setup.py"), "--config", str(user.file), "--state", str(user.state)]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("made     topic"):
                process.send_signal(number)
                # Whoever is impatient changes nothing.
                process.send_signal(number)
        out = process.stdout.read()
    assert process.returncode == 130, said
    assert "undoing what this run has done" in "".join(said)
    assert "undone   queue\n" in said
    assert said[-1].endswith("interrupted\n")
    assert out == ""
    assert user.account.state() == before
    assert user.file.read_bytes() == text


def test_the_estimate_adds_up_and_says_what_it_leaves_out() -> None:
    cost = estimate(Config())
    assert cost.hourly == pytest.approx(sum(item.hourly for item in cost.items))
    assert cost.monthly == pytest.approx(730 * cost.hourly)
    assert 1.006 < cost.hourly < 1.2
    assert cost.unknown == ()
    odd = estimate(Config(service_type="p9.huge", region="eu-west-1"))
    assert odd.unknown == ("service: 1 x p9.huge, whose price is not in the table",)
    assert [line for line in odd.lines() if "the prices of eu-west-1" in line]
    assert all(0 < price < 100 for price in PER_HOUR.values())
