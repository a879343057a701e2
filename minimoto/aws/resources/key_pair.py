"""The key pair for SSH: made on the operator's computer; only its public half ever leaves it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config
from minimoto.errors import CloudError


class KeyPair(Resource):
    """An Ed25519 key, or the one that ``key_file`` in ``configure.ini`` names."""

    key = role = "key-pair"
    kind = "key pair"

    def find_all(self, ctx: Context) -> list[Found]:
        pairs = ctx.client("ec2").describe_key_pairs(Filters=ctx.tag_filters(self.role))["KeyPairs"]
        return [Found(p["KeyPairId"], p["KeyName"], tag_dict(p.get("Tags"))) for p in pairs]

    def make(self, ctx: Context) -> Found:
        name = ctx.name("key")
        file = private_file(ctx, name)
        public = public_half(file) if given(ctx) else make_key(file)
        answer = ctx.client("ec2").import_key_pair(
            KeyName=name,
            PublicKeyMaterial=public.encode(),
            TagSpecifications=[{"ResourceType": "key-pair", "Tags": ctx.tag_list(self.role)}],
        )
        return Found(answer["KeyPairId"], name, ctx.tags(self.role))

    def find_made(self, ctx: Context) -> list[Found]:
        name = ctx.name("key")
        # The file is made before the key pair is, and may be all that there is.
        alone = [Found("", name)] if own_file(ctx.key_folder, name).exists() else []
        return list(super().find_made(ctx)) or alone

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        file = private_file(ctx, found.name)
        there = str(file) if file.exists() else None
        advice = "without it nobody can log in to the machines from here: copy it from where setup first ran"
        return [Setting("private key", there, str(file), advice=advice)]

    def remove(self, ctx: Context, found: Found) -> None:
        if found.id:
            # Deleting a key pair that is gone is no error in EC2.
            ctx.client("ec2").delete_key_pair(KeyName=found.name)
        own_file(ctx.key_folder, found.name).unlink(missing_ok=True)

    def record(self, ctx: Context, found: Found) -> Config:
        return replace(ctx.config, key_file_name=found.name, key_file=str(private_file(ctx, found.name)))


def own_file(folder: Path, name: str) -> Path:
    """Where setup keeps the private half of a key pair that it makes."""
    return folder / f"{name}.pem"


def is_own(path: Path, deployment: str) -> bool:
    """Whether setup made a private key file, going by its name; any other is the operator's and is never deleted."""
    return re.fullmatch(rf"{re.escape(deployment)}-key-[0-9a-f]{{8}}\.pem", path.name) is not None


def given(ctx: Context) -> bool:
    """Whether there is a private key to use; one that setup made and somebody deleted is made again."""
    path = Path(ctx.config.key_file).expanduser()
    return bool(ctx.config.key_file) and (path.exists() or not is_own(path, ctx.config.name))


def private_file(ctx: Context, name: str) -> Path:
    """The private key that belongs to a key pair."""
    return Path(ctx.config.key_file).expanduser() if given(ctx) else own_file(ctx.key_folder, name)


def make_key(path: Path) -> str:
    """Makes a private key in a new file of mode 0600, and returns the public half in OpenSSH's format.

    Raises:
        CloudError: the file cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(private)
    except OSError as error:
        raise CloudError(f"private key {path}: {error.strerror}") from error
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def public_half(path: Path) -> str:
    """The public half of a private key file, in OpenSSH's format; raises ``CloudError``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_ssh_private_key,
    )

    try:
        data = path.read_bytes()
        load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
        key = load(data, password=None)
        return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    except OSError as error:
        raise CloudError(f"key_file {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CloudError(f"key_file {path}: not a private key without passphrase: {error}") from error
