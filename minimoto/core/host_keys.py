"""SSH host keys as text, and how to find them in the console output of a new machine.

cloud-init prints them at the first boot between two markers (module ``ssh``, ``emit_keys_to_console``): a way that
nobody between us and the machine can touch. Source of the format: cloud-init, ``tools/write-ssh-key-fingerprints``.
"""

from __future__ import annotations

import base64
import binascii
import re

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Host keys that are accepted, the one to ask for first."""

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"

_BLOCK = re.compile(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", re.DOTALL)
_KEY = re.compile(rf"\b({'|'.join(KEY_TYPES)})\s+(AAAA[A-Za-z0-9+/]+=*)")


def parse_console(text: str) -> tuple[str, ...]:
    """The host keys in a console's output, each ``<type> <base64>``; of the last whole block, or none.

    Parameters:
        text: output as EC2 gives it; other programs may write between the lines.
    """
    blocks = _BLOCK.findall(text)
    if not blocks:
        return ()
    keys = (f"{kind} {data}" for kind, data in _KEY.findall(blocks[-1]) if _is_key(kind, data))
    return tuple(dict.fromkeys(keys))


def _is_key(kind: str, data: str) -> bool:
    """Whether the data says the same type as the line: one cut short or spliced does not."""
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error:
        return False
    size = int.from_bytes(raw[:4], "big")
    return raw[4 : 4 + size] == kind.encode()
