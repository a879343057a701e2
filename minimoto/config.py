"""Settings: one frozen document, one file, one order of precedence.

Command line, then environment (``MINIMOTO_<SECTION>_<OPTION>``), then ``configure.ini``, then the defaults below.
The file is the one named by ``--config``, else ``$MINIMOTO_CONFIG``, else ``./configure.ini``, else
``/etc/minimoto/configure.ini``. It never holds a secret: credentials come from boto3's own chain.
"""

from __future__ import annotations

import configparser
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from minimoto.core.allowed import Allowed
from minimoto.core.group import POLICY
from minimoto.errors import ConfigError

SYSTEM_FILE = Path("/etc/minimoto/configure.ini")


def _s(section: str, option: str, default: Any, help: str, **allowed: Any) -> Any:
    told = {"section": section, "option": option, "help": help, "allowed": Allowed(**allowed)}
    return field(default=default, metadata=told)


@dataclass(frozen=True)
class Config:
    """Every setting, with its section and option in ``configure.ini``. Durations are seconds, memory is bytes."""

    name: str = _s("INIT", "name", "minimoto", "the deployment's name; several live side by side in one account")
    region: str = _s("INIT", "region_name", "us-east-1", "AWS region")
    profile: str = _s("INIT", "profile", "", "profile of ~/.aws; empty: boto3's own chain")
    endpoint_url: str = _s("INIT", "endpoint_url", "", "the embedded AWS; empty: AWS itself")
    key_file: str = _s("INIT", "key_file", "", "private key for SSH to the machines")
    key_file_name: str = _s("INIT", "key_file_name", "", "name of the key pair in EC2")
    log_file: str = _s("INIT", "log_file", "~/minimoto.log", "every run appends its arguments and its outcome")

    queue_name: str = _s("SQS", "queue_name", "", "")
    queue_url: str = _s("SQS", "queue_url", "", "")
    dead_letter_url: str = _s("SQS", "dead_letter_url", "", "")
    lease: float = _s(
        "SQS",
        "visible_time",
        120.0,
        "visibility timeout and lease of a task; renewed by a heartbeat",
        above=0,
        most=43_200,
    )
    receive_limit: int = _s(
        "SQS", "receive_limit", 10, "deliveries before a message is dead-lettered", least=1, most=1000
    )

    bucket_input: str = _s("S3", "bucket_input", "", "")
    bucket_output: str = _s("S3", "bucket_output", "", "")
    more_buckets: tuple[str, ...] = _s("S3", "more_buckets", (), "other buckets that jobs may name, comma-separated")
    input_days: int = _s("S3", "input_days", 7, "inputs and intermediate files are deleted after so many days", least=1)
    output_days: int = _s("S3", "output_days", 0, "results are deleted after so many days; 0: never", least=0)

    table: str = _s("DYNAMODB", "table", "", "jobs, tasks and nodes")
    history_days: int = _s(
        "DYNAMODB", "history_days", 90, "jobs that ended are forgotten after so many days; 0: never", least=0
    )
    topic_arn: str = _s("SNS", "topic_arn", "", "where the ends of jobs are announced")

    client_identity: str = _s("EC2", "client_identity", "", "tag Name of the client's machine")
    service_identity: str = _s("EC2", "service_identity", "", "tag Name of the service machines")
    watchdog_identity: str = _s("EC2", "watchdog_identity", "", "tag Name of the watchdog's machine")
    client_id: str = _s("EC2", "client_id", "", "")
    watchdog_id: str = _s("EC2", "watchdog_id", "", "")
    service_id: str = _s("EC2", "service_id", "", "")
    service_type: str = _s("EC2", "service_ec2_type", "g5.xlarge", "instance type of the service machines")
    small_type: str = _s("EC2", "small_ec2_type", "t3.small", "instance type of client and watchdog")
    launch_template: str = _s("EC2", "launch_template", "", "id of the launch template of the service machines")
    login: str = _s("EC2", "login", "ubuntu", "user to log in as over SSH")
    ssh_from: str = _s("EC2", "ssh_from", "", "CIDR from which SSH is let in; empty: this machine's public address")

    sg_name: str = _s("SECURITY_GROUP", "sg_name", "", "")
    security_group_id: str = _s("SECURITY_GROUP", "security_group_id", "", "")

    image_name: str = _s("AMI", "image_name", "", "")
    service_ami: str = _s("AMI", "service_ami", "", "the baked image")
    base_ami: str = _s("AMI", "base_ami", "", "image to start from; empty: the newest Deep Learning AMI of SSM")
    base_parameter: str = _s(
        "AMI",
        "base_parameter",
        "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id",
        "SSM public parameter that names the base image",
    )
    models: tuple[str, ...] = _s(
        "AMI",
        "models",
        ("auto",),
        "published models that setup brings and bakes into the image, comma-separated; auto: yunet, if it can be had; "
        "none",
    )

    policy: str = _s("FLEET", "policy", "target", "target, classic, or asg: an Auto Scaling group with alarms")
    min_nodes: int = _s("FLEET", "min_nodes", 1, "service machines at least", least=0)
    warm: tuple[str, ...] = _s(
        "FLEET", "warm", (), "more of them by hours of the day, comma-separated, such as mon-fri 8:00-18:00 3"
    )
    time_zone: str = _s("FLEET", "time_zone", "UTC", "whose hours those are, such as Europe/Berlin")
    max_nodes: int = _s("FLEET", "max_nodes", 8, "service machines at most", least=0)
    target_seconds: float = _s(
        "FLEET", "target_seconds", 300.0, "time within which a backlog shall be finished", above=0
    )
    boot_seconds: float = _s(
        "FLEET", "boot_seconds", 120.0, "how long a node takes to its first task, until learnt", above=0
    )
    cooldown: float = _s("FLEET", "cooldown", 30.0, "idle time before a node is scaled in", least=0)
    spare_nodes: int = _s("FLEET", "spare_nodes", 0, "idle machines kept beside those that the work needs", least=0)
    spare_share: float = _s(
        "FLEET", "spare_share", 0.0, "the same as a share of those, where that is more, such as 0.5", least=0
    )
    thrifty: bool = _s("FLEET", "thrifty", False, "on: no node is started before it must be, so that jobs share a boot")
    keep_failed: bool = _s("FLEET", "keep_failed", False, "on: a node that took itself out stays to be looked at")
    strike_seconds: float = _s(
        "FLEET", "strike_seconds", 60.0, "silence of a node that makes one of its two strikes", above=0
    )
    market: str = _s(
        "FLEET", "market", "spot", "spot (on-demand while spot cannot be had) or on-demand", words=("spot", "on-demand")
    )
    more_types: tuple[str, ...] = _s("FLEET", "more_types", (), "other instance types to fall back to")
    budget_per_day: float = _s(
        "FLEET", "budget_per_day", 0.0, "US dollars a day that are never passed; 0: no limit", least=0
    )
    budget_per_job: float = _s(
        "FLEET", "budget_per_job", 0.0, "US dollars that a job may cost at most; 0: no limit", least=0
    )
    price_per_hour: float = _s(
        "FLEET", "price_per_hour", 0.0, "US dollars an hour of a service machine; 0: as known", least=0
    )
    metrics: str = _s("FLEET", "metrics", "", "where a looping watchdog answers Prometheus, such as 127.0.0.1:9400")
    watchdog_every: float = _s(
        "FLEET", "watchdog_every", 15.0, "seconds between the watchdog's passes under cron", above=0
    )

    slots: int = _s("SERVICE", "slots", 0, "workers on a node; 0: one a GPU, else one", least=0)
    heartbeat: float = _s(
        "SERVICE", "heartbeat", 20.0, "how often a lease is renewed and progress is published", above=0
    )
    quiet: float = _s("SERVICE", "quiet", 60.0, "a service exits when the queue has been empty for so long", least=0)
    data_dir: str = _s("SERVICE", "data_dir", "", "working files and locks; empty: /var/lib/minimoto or a cache folder")
    free_disk: int = _s("SERVICE", "free_disk", 2_000_000_000, "bytes that must be free before work is taken", least=0)
    fence_after: int = _s(
        "SERVICE", "fence_after", 5, "failures one after another until a node takes itself out", least=1
    )
    task_seconds: float = _s(
        "SERVICE", "task_seconds", 30.0, "how long a task should take: decides the shards", above=0
    )

    upload_hours: float = _s("CLIENT", "upload_hours", 24.0, "an upload not finished by then is abandoned", above=0)
    uploads: int = _s("CLIENT", "uploads", 10, "files sent or fetched side by side", least=1)
    owner: str = _s("CLIENT", "owner", "", "who asks; empty: user@host")

    @property
    def always_nodes(self) -> int:
        """Service machines that are there whether or not there is work, as far as the settings say."""
        return max(self.min_nodes, self.spare_nodes if self.policy == "target" else 0)

    @property
    def local(self) -> bool:
        """Whether this deployment runs on the embedded AWS."""
        return bool(self.endpoint_url)

    @property
    def grouped(self) -> bool:
        """Whether an Auto Scaling group sizes the fleet."""
        return self.policy == POLICY

    @property
    def buckets(self) -> frozenset[str]:
        """The buckets that a job of this deployment may name."""
        return frozenset(b for b in (self.bucket_input, self.bucket_output, *self.more_buckets) if b)


OUTPUT_OPTIONS = (
    "s3_bucket_input",
    "s3_bucket_output",
    "client_user",
    "client_addr",
    "watchdog_user",
    "watchdog_addr",
    "service_user",
    "service_ami",
)
"""Section [OUTPUT]: what setup printed, for people and scripts; never read back."""


def find(path: str | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The file that settings come from (it may not exist yet)."""
    environ = os.environ if environ is None else environ
    named = path or environ.get("MINIMOTO_CONFIG")
    if named:
        return Path(named).expanduser()
    here = Path("configure.ini")
    return here if here.exists() or not SYSTEM_FILE.exists() else SYSTEM_FILE


def load(
    path: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    required: bool = True,
    **overrides: Any,
) -> Config:
    """Reads the settings.

    Parameters:
        path: value of ``--config``, if given.
        required: whether a missing file is an error.
        overrides: values from the command line; ``None`` means not given.

    Raises:
        ConfigError: the file is missing (and required), malformed, or a value is not of its kind.
    """
    environ = os.environ if environ is None else environ
    file = find(path, environ)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with file.open(encoding="utf-8") as handle:
            parser.read_file(handle)
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{file}: no such file; run minimoto_setup.py first, or name it with --config") from None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigError(f"{file}: {_unreadable(error)}") from error
    values: dict[str, Any] = {}
    for setting in fields(Config):
        section, option = setting.metadata["section"], setting.metadata["option"]
        text = environ.get(variable(section, option))
        where = f"the variable {variable(section, option)}" if text is not None else f"{file} [{section}] {option}"
        if text is None:
            text = parser.get(section, option, fallback=None)
        if text is not None and text.strip():
            value = _parse(text.strip(), setting.default, where)
            expected = setting.metadata["allowed"].expected(value)
            if expected:
                raise ConfigError(f"{where} is {text.strip()}: {expected} is expected")
            values[setting.name] = value
    return replace(Config(**values), **{name: value for name, value in overrides.items() if value is not None})


def variable(section: str, option: str) -> str:
    """The environment variable that sets an option."""
    return f"MINIMOTO_{section}_{option}".upper()


def _unreadable(error: Exception) -> str:
    """Why a settings file cannot be read, in one line that does not name it again."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeDecodeError):
        return "this is no text in UTF-8"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno}: a section such as [FLEET] is expected before {error.line.strip()!r}"
    line = getattr(error, "lineno", None)
    return f"line {line}: {_said_of(error)}" if line else " ".join(str(error).split())


def _said_of(error: Exception) -> str:
    if isinstance(error, configparser.DuplicateSectionError):
        return f"section [{error.section}] stands there twice"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"[{error.section}] {error.option} stands there twice"
    return " ".join(str(error).split())


def _parse(text: str, default: Any, where: str) -> Any:
    try:
        if isinstance(default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if isinstance(default, bool):
            return configparser.ConfigParser.BOOLEAN_STATES[text.lower()]
        if isinstance(default, int | float):
            return type(default)(text)
    except KeyError:
        raise ConfigError(f"{where}: {text!r} is neither on nor off") from None
    except ValueError:
        raise ConfigError(f"{where}: {text!r} is not a number") from None
    return text


IDS = (
    "key_file_name",
    "queue_name",
    "queue_url",
    "dead_letter_url",
    "bucket_input",
    "bucket_output",
    "table",
    "topic_arn",
    "client_identity",
    "service_identity",
    "watchdog_identity",
    "client_id",
    "watchdog_id",
    "service_id",
    "launch_template",
    "sg_name",
    "security_group_id",
    "image_name",
    "service_ami",
)
"""What setup finds out and cleanup takes away again; every other setting is the user's."""


def without_ids(config: Config) -> Config:
    """The settings of a deployment that does not exist (any more)."""
    gone: dict[str, Any] = dict.fromkeys(IDS, "")
    return replace(config, **gone)


def read_output(path: Path) -> dict[str, str]:
    """Section [OUTPUT] of a settings file; empty where there is none."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise ConfigError(f"{path}: {_unreadable(error)}") from error
    section = dict(parser["OUTPUT"]) if parser.has_section("OUTPUT") else {}
    return {option: value for option, value in section.items() if option in OUTPUT_OPTIONS and value}


def dump(config: Config, output: Mapping[str, str] | None = None) -> str:
    """The text of ``configure.ini``."""
    parser = configparser.ConfigParser(interpolation=None)
    for setting in fields(Config):
        section = setting.metadata["section"]
        if not parser.has_section(section):
            parser.add_section(section)
        value = getattr(config, setting.name)
        parser.set(section, setting.metadata["option"], _text(value))
    parser.add_section("OUTPUT")
    for option in OUTPUT_OPTIONS:
        parser.set("OUTPUT", option, (output or {}).get(option, ""))
    from io import StringIO

    text = StringIO()
    parser.write(text)
    return text.getvalue().rstrip() + "\n"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def save(config: Config, path: Path, output: Mapping[str, str] | None = None) -> None:
    """Writes ``configure.ini`` atomically, mode 0600: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(dump(config, output))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
