"""From enqueue to start on a warm node: how long a job that is ready waits until a service works on it.

One service waits in its long poll; jobs of one empty task are sent one after another, each when the one before has
ended, after a pause of random length. Both times come from the job's history: ``ready`` is before the document is
saved and the message sent, ``processing`` after the message was received and the task claimed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median, quantiles

from benchmarks.embedded import Deployment, deployment
from benchmarks.measure import machine, versions
from minimoto.core.events import UploadFinished
from minimoto.core.job import Job, Location
from minimoto.core.new_job import new_job
from minimoto.dispatch import Dispatcher
from minimoto.steps import STEPS
from minimoto.wiring import Cloud

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.25
PATIENCE = 60.0


def main() -> int:
    """Prints the median; exit status 1 when it is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minimoto-latency-") as folder, deployment(Path(folder)) as where:
        waits = measure(where, Path(folder), args.jobs)
    print(f"## From enqueue to start, {args.jobs} jobs on a warm node\n\n{machine()}\n{versions('boto3', 'moto')}\n")
    tenth = quantiles(waits, n=10)
    print(
        f"median {median(waits) * 1e3:.0f} ms, 10 % below {tenth[0] * 1e3:.0f} ms, 10 % above {tenth[-1] * 1e3:.0f} ms"
    )
    print(f"limit {LIMIT * 1e3:.0f} ms; a cron that starts a worker every 5 s waits 2500 ms on average")
    return 0 if median(waits) < LIMIT else 1


def measure(where: Deployment, folder: Path, jobs: int) -> list[float]:
    """Seconds between enqueue and start of each job, the first (which warms up) left out."""
    cloud = Cloud(where.settings)
    command = [sys.executable, str(ROOT / "minimoto_service.py"), "--config", str(where.file), "--slots", "1"]
    command += ["--data-dir", str(folder / "data")]
    environ = {**os.environ, "MINIMOTO_NODE": "i-0benchmark", "MINIMOTO_SERVICE_FREE_DISK": "0"}
    with (folder / "service.log").open("w") as log:
        service = subprocess.Popen(command, env=environ, stderr=log, cwd=ROOT)
    try:
        waits = [wait_of(cloud) for _ in range(jobs + 1)]
    finally:
        service.terminate()
        service.wait(60)
    return waits[1:]


def wait_of(cloud: Cloud) -> float:
    """Sends one job, waits until it has ended, and returns how long it waited to be started."""
    time.sleep(random.uniform(0.05, 0.5))
    id = f"empty-{uuid.uuid4().hex[:8]}"
    job = new_job(
        id=id,
        name="empty",
        owner="benchmark",
        pipeline="nothing",
        steps=STEPS,
        inputs=cloud.config.bucket_input,
        outputs=Location(cloud.config.bucket_output, f"{id}/"),
        now=cloud.clock.now(),
        upload_seconds=3600,
    )
    created = cloud.jobs.create(job)
    dispatcher = Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock)
    dispatcher.apply(created, UploadFinished(1))
    until = time.monotonic() + PATIENCE
    while not (ended := cloud.jobs.get(id)).state.final:
        if time.monotonic() > until:
            raise SystemExit(f"job {id} has not ended after {PATIENCE:g} s")
        time.sleep(0.05)
    return at(ended, "processing") - at(ended, "ready")


def at(job: Job, what: str) -> float:
    """When the history says that something happened."""
    return next(entry.at for entry in job.history if entry.what == what)


if __name__ == "__main__":
    sys.exit(main())
