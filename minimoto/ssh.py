"""Machines over SSH, by paramiko: the host key is known beforehand and checked, and only the given key is tried.

Source of the protocol: RFC 4251 to 4254. No host key is ever added on trust; for a new EC2 machine they are read from
its console (:mod:`minimoto.core.host_keys`).
"""

from __future__ import annotations

import codecs
import logging
import secrets
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minimoto.core.host_keys import KEY_TYPES
from minimoto.errors import InstallFailed
from minimoto.machine import MOST_LINE, Completed, Echo, Output, checked
from minimoto.ports import Clock

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 15.0
PAUSE_SECONDS = 3.0
KEEPALIVE_SECONDS = 15
SILENT_SECONDS = 60
"""A peer that acknowledges nothing for so long is gone."""


TIMED_OUT = 124
"""Exit status of coreutils' ``timeout``."""


@dataclass(frozen=True)
class Login:
    """Where and how to log in.

    Parameters:
        user: such as ``ubuntu``.
        key_file: private key, without passphrase.
        host_keys: keys the machine may show, each ``<type> <base64>``; empty: those of ``known_hosts``.
        known_hosts: a file in OpenSSH's format.
    """

    host: str
    user: str
    key_file: Path
    host_keys: tuple[str, ...] = ()
    known_hosts: Path | None = None
    port: int = 22

    @property
    def known_as(self) -> str:
        """The machine's name in a file of known hosts."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


def connect(
    login: Login,
    clock: Clock,
    *,
    role: str = "machine",
    patience: float = 300.0,
    login_patience: float = 60.0,
    echo: Echo | None = None,
) -> SshMachine:
    """Logs in, trying again while the machine boots.

    Parameters:
        role: for people; with the address it is the machine's name.
        patience: seconds to wait for a machine that refuses or does not answer.
        login_patience: seconds to wait for a machine that answers but refuses the login: for a while after its first
            boot, cloud-init has not let the key in yet.
        echo: is shown the machine's output.

    Raises:
        InstallFailed: the key file cannot be used, the host key is not the known one (at once), or the time is over.
    """
    import paramiko

    name = f"{role} {login.host}"
    key = _private_key(login, name)
    known = _known_host_keys(login, name)
    give_up = clock.monotonic() + patience
    refused_since: float | None = None
    told = ""
    # paramiko logs the traceback of each try that fails; what failed is said here, once.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    while True:
        client = paramiko.SSHClient()
        try:
            _log_in(client, login, key, known)
            return SshMachine(client, name, echo)
        except paramiko.BadHostKeyException as error:
            client.close()
            raise InstallFailed(
                f"{name}: connect failed: its host key {error.key.get_name()} {error.key.fingerprint} is not the known "
                "one. Somebody may be in between, or the machine was replaced: compare the key with its console"
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            client.close()
            refused = isinstance(error, paramiko.AuthenticationException)
            reason = f"{login.user} was refused with the key {login.key_file}" if refused else _why(error)
        now = clock.monotonic()
        refused_since = (now if refused_since is None else refused_since) if refused else None
        if now + PAUSE_SECONDS > give_up or (refused_since is not None and now - refused_since >= login_patience):
            raise InstallFailed(f"{name}: connect failed: {reason}")
        if echo is not None and reason != told:
            echo(f"[{name}] not there yet, trying again: {reason}")
            told = reason
        clock.sleep(PAUSE_SECONDS)


def _log_in(client: paramiko.SSHClient, login: Login, key: paramiko.PKey, known: paramiko.HostKeys) -> None:
    import paramiko

    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.get_host_keys().update(known)
    client.connect(
        login.host,
        port=login.port,
        username=login.user,
        pkey=key,
        allow_agent=False,
        look_for_keys=False,
        timeout=CONNECT_SECONDS,
        banner_timeout=CONNECT_SECONDS,
        auth_timeout=CONNECT_SECONDS,
        channel_timeout=CONNECT_SECONDS,
    )


class SshMachine:
    """A machine that we are logged in to; made by :func:`connect`."""

    def __init__(self, client: paramiko.SSHClient, name: str, echo: Echo | None = None) -> None:
        self.name, self._client, self._echo = name, client, echo
        transport = client.get_transport()
        assert transport is not None
        self._transport = transport
        transport.set_keepalive(KEEPALIVE_SECONDS)
        if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)

    def run(self, command: Sequence[str], *, step: str, timeout: float = 600.0) -> Completed:
        import paramiko

        output = Output(self.name, self._echo)
        try:
            channel = self._transport.open_session(timeout=CONNECT_SECONDS)
            # The machine ends what we gave up on, or it would go on holding locks.
            channel.exec_command(shlex.join(["timeout", "--kill-after=10", f"{timeout:g}", *command]))
            channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._dropped(step) from error
        readers = [
            _read(channel.recv, output.line),
            _read(channel.recv_stderr, lambda line: output.line(line, error=True)),
        ]
        if not channel.status_event.wait(timeout + CONNECT_SECONDS):
            channel.close()
            raise InstallFailed(f"{self.name}: {step} was given up after {timeout:g} s without an answer")
        for reader in readers:
            reader.join(CONNECT_SECONDS)
        status = channel.recv_exit_status()
        channel.close()
        return self._outcome(step, output.completed(status), timeout)

    def put(self, source: Path, target: str, *, step: str, mode: int = 0o644) -> None:
        import paramiko

        part = f"{target}.{secrets.token_hex(4)}.part"
        try:
            with self._client.open_sftp() as sftp:
                channel = sftp.get_channel()
                assert channel is not None
                channel.settimeout(SILENT_SECONDS)
                try:
                    sftp.put(str(source), part)
                    sftp.chmod(part, mode)
                    sftp.posix_rename(part, target)
                except OSError as error:
                    if channel.closed:
                        raise
                    _remove(sftp, part)
                    raise InstallFailed(f"{self.name}: {step}: {target}: {_why(error)}") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._dropped(step) from error

    def close(self) -> None:
        self._client.close()

    def _outcome(self, step: str, completed: Completed, timeout: float) -> Completed:
        if completed.status == -1:
            if not self._transport.is_active():
                raise self._dropped(step, completed.stderr)
            raise InstallFailed(f"{self.name}: {step} was ended by a signal", stderr=completed.stderr)
        if completed.status == TIMED_OUT:
            raise InstallFailed(f"{self.name}: {step} was given up after {timeout:g} s", stderr=completed.stderr)
        return checked(self.name, step, completed)

    def _dropped(self, step: str, stderr: str = "") -> InstallFailed:
        return InstallFailed(f"{self.name}: the connection dropped during {step}; run setup again", stderr=stderr)


def _read(receive: Callable[[int], bytes], take: Callable[[str], None]) -> threading.Thread:
    """Reads one stream to its end, in a thread."""

    def read() -> None:
        for line in _lines(iter(lambda: receive(65_536), b"")):
            take(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Text lines of a stream of bytes; a line may also end in a carriage return, as progress bars do."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + decoder.decode(chunk)).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        yield from lines
        if len(rest) > MOST_LINE:
            yield rest
            rest = ""
    if rest:
        yield rest


def _remove(sftp: paramiko.SFTPClient, path: str) -> None:
    try:
        sftp.remove(path)
    except OSError:
        # It may never have been made; the error that brought us here is the one to report.
        return


def _private_key(login: Login, name: str) -> paramiko.PKey:
    import paramiko
    from paramiko.pkey import UnknownKeyType

    try:
        return paramiko.PKey.from_path(login.key_file)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = str(error.strerror)
    except (paramiko.PasswordRequiredException, TypeError):
        reason = "it is protected by a passphrase; give a key without one"
    except (ValueError, paramiko.SSHException, UnknownKeyType):
        reason = "it is not a private key"
    raise InstallFailed(f"{name}: connect failed: the key {login.key_file} cannot be used: {reason}")


def _known_host_keys(login: Login, name: str) -> paramiko.HostKeys:
    import paramiko
    from paramiko.hostkeys import HostKeyEntry

    known = paramiko.HostKeys()
    for kind, data in sorted((key.split()[:2] for key in login.host_keys), key=lambda key: _rank(key[0])):
        entry = HostKeyEntry.from_line(f"{login.known_as} {kind} {data}") if kind in KEY_TYPES else None
        if entry is not None and entry.key is not None:
            known.add(login.known_as, kind, entry.key)
    if login.known_hosts is not None:
        try:
            known.load(str(login.known_hosts))
        except OSError as error:
            raise InstallFailed(f"{name}: connect failed: {login.known_hosts}: {error.strerror}") from error
    if known.lookup(login.known_as) is None:
        raise InstallFailed(
            f"{name}: connect failed: its host key is not known, and an unknown key is never trusted; "
            f"add the key of {login.known_as} to {login.known_hosts or 'the file of known hosts'}"
        )
    return known


def _rank(kind: str) -> int:
    return KEY_TYPES.index(kind) if kind in KEY_TYPES else len(KEY_TYPES)


def _why(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
