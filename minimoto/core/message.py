"""What a queue message says, and which messages no worker may act on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from minimoto.core.job import JOB_ID
from minimoto.core.shards import MOST_TASKS
from minimoto.core.task import TaskKey
from minimoto.errors import InvalidMessage

VERSION = 1
MOST_BYTES = 4096
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SEED = re.compile(r"transform\?bucket_input_name=([^:]*):bucket_output_name=([^:]*):folder_name=(.*)", re.DOTALL)


@dataclass(frozen=True)
class FolderRequest:
    """The older text form: make a film of the photos below ``folder`` in bucket ``inputs``, put it in ``outputs``."""

    inputs: str
    outputs: str
    folder: str


def encode(key: TaskKey) -> str:
    """The message of a task."""
    return json.dumps({"v": VERSION, "job": key.job, "stage": key.stage, "task": key.task}, separators=(",", ":"))


def decode(body: str) -> TaskKey | FolderRequest:
    """Reads a message from the queue. Anybody may have written it: every field is checked.

    Raises:
        InvalidMessage: the reason it can never be acted on.
    """
    if len(body.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise InvalidMessage(f"the message is longer than {MOST_BYTES} bytes")
    if body.startswith("transform?"):
        return _folder_request(body)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("the message is neither JSON nor transform?…") from error
    if not isinstance(document, dict):
        raise InvalidMessage("the message is JSON, but no object")
    if document.get("v") != VERSION or isinstance(document.get("v"), bool):
        raise InvalidMessage(f"the message has version {document.get('v')!r}, not {VERSION}")
    job = document.get("job")
    if not isinstance(job, str) or not JOB_ID.fullmatch(job):
        raise InvalidMessage("the message names no valid job")
    return TaskKey(job, _index(document, "stage", 100), _index(document, "task", MOST_TASKS))


def _index(document: dict[str, Any], name: str, most: int) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
        raise InvalidMessage(f"the message's {name} is no number from 0 to {most - 1}")
    return value


def _folder_request(body: str) -> FolderRequest:
    match = _SEED.fullmatch(body.strip())
    if match is None:
        raise InvalidMessage("the message is not transform?bucket_input_name=…:bucket_output_name=…:folder_name=…")
    inputs, outputs, folder = match.groups()
    if not _BUCKET.fullmatch(inputs) or not _BUCKET.fullmatch(outputs):
        raise InvalidMessage("the message names no valid bucket")
    if not JOB_ID.fullmatch(folder):
        raise InvalidMessage("the message's folder name may hold letters, digits, - and _ only (100 at most)")
    return FolderRequest(inputs, outputs, folder)
