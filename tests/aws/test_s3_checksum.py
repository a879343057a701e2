"""S3 is told the digest of what is sent whole, so that it refuses anything else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from minimoto.aws.clients import client
from minimoto.core.job import Location


def test_the_digest_goes_with_the_file(cloud: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"photo")
    digest = hashlib.sha256(b"photo")
    sent: list[dict[str, str]] = []
    events = client(cloud.session, cloud.config, "s3").meta.events
    events.register("before-call.s3.PutObject", lambda params, **_: sent.append(params["headers"]), unique_id="seen")
    try:
        cloud.store.upload(file, Location(cloud.config.bucket_input, "trip-1/in/a.jpg"), digest.hexdigest())
        cloud.store.upload(file, Location(cloud.config.bucket_input, "trip-1/in/b.jpg"))
    finally:
        events.unregister("before-call.s3.PutObject", unique_id="seen")
    told = [headers.get("x-amz-checksum-sha256") for headers in sent]
    assert told == [base64.b64encode(digest.digest()).decode(), None]
