"""Sending a folder: ``minimoto_client.py FOLDER`` against ``aws s3 cp --recursive``, as whole processes.

Both send the same files to the same embedded AWS, in turn, each time to a new place. Ours also writes the job document,
the digests and the manifest, and enqueues.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.embedded import deployment
from benchmarks.measure import Contender, in_turn, report, timed

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Prints the ratio; exit status 1 when ours is slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=125)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minimoto-upload-") as folder:
        return _compare(Path(folder), args)


def _compare(folder: Path, args: argparse.Namespace) -> int:
    photos = folder / "photos"
    photos.mkdir()
    with deployment(folder) as config:
        environ = dict(
            os.environ,
            MINIMOTO_CONFIG=str(config.file),
            AWS_ACCESS_KEY_ID="local",
            AWS_SECRET_ACCESS_KEY="local",
            AWS_DEFAULT_REGION=config.settings.region,
        )

        def renew() -> None:
            # New bytes each time: ours would not send the same ones twice.
            for index in range(args.files):
                body = os.urandom(int(args.megabytes * 1e6))
                (photos / f"photo{index:03d}.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + body)

        def theirs() -> None:
            target = f"s3://{config.settings.bucket_input}/{uuid.uuid4().hex}/"
            aws = str(Path(sys.executable).with_name("aws"))
            command = [
                aws,
                "s3",
                "cp",
                "--recursive",
                "--quiet",
                "--endpoint-url",
                config.settings.endpoint_url,
                str(photos),
                target,
            ]
            subprocess.run(command, env=environ, check=True)

        def ours() -> None:
            command = [sys.executable, str(ROOT / "minimoto_client.py"), str(photos)]
            subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def fresh(work: Callable[[], None]) -> Callable[[], float]:
            def run() -> float:
                renew()
                return timed(work)()

            return run

        contenders = [Contender("aws s3 cp --recursive", fresh(theirs)), Contender("minimoto_client.py", fresh(ours))]
        figures = in_turn(contenders, args.runs, note=lambda text: print(text, file=sys.stderr))
        title = f"Upload of {args.files} files of {args.megabytes:g} MB"
        ratio = report(title, contenders, figures, "s", ["minimoto", "awscli", "boto3", "moto"])
    return 0 if ratio >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
