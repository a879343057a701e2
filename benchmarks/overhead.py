"""What a task costs besides its work: receive to delete of an empty step, against Celery on SQS.

One worker each, on the same embedded AWS in its own process, in turn. Celery acknowledges late and fetches one task at
a time, as whoever must not lose a task sets it; its task runs in the worker itself (pool ``solo``, its fastest) or in a
child process (``prefork``, as ours does). Ours also takes a lease, records the task and advances the job's document.
The figure is tasks a second from the end of the first task to the end of the last.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.embedded import Deployment, deployment
from benchmarks.measure import Contender, in_turn, report

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 300.0


def main() -> int:
    """Prints the ratio; exit status 1 when ours is slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pool", choices=("solo", "prefork"), default="solo", help="how Celery runs its tasks")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minimoto-overhead-") as folder, deployment(Path(folder)) as where:
        contenders = [
            Contender(f"Celery on SQS, {args.pool}", lambda: theirs(where, Path(folder), args.tasks, args.pool)),
            Contender("minimoto", lambda: ours(where, Path(folder), args.tasks)),
        ]
        figures = in_turn(contenders, args.runs, note=lambda text: print(text, file=sys.stderr))
        packages = ["celery", "kombu", "boto3", "moto"]
        title = f"{args.tasks} empty tasks, one worker"
        ratio = report(title, contenders, figures, "tasks/s", packages, more_is_better=True)
    return 0 if ratio >= 1 else 1


def ours(where: Deployment, folder: Path, tasks: int) -> float:
    """Tasks a second of ``minimoto_service.py``."""
    from minimoto.core.events import UploadFinished
    from minimoto.core.job import Location
    from minimoto.core.new_job import new_job
    from minimoto.dispatch import Dispatcher
    from minimoto.steps import STEPS
    from minimoto.wiring import Cloud

    cloud = Cloud(where.settings)
    id = f"empty-{uuid.uuid4().hex[:8]}"
    job = cloud.jobs.create(
        new_job(
            id=id,
            name="empty",
            owner="benchmark",
            pipeline="nothing",
            steps=STEPS,
            inputs=where.settings.bucket_input,
            outputs=Location(where.settings.bucket_output, f"{id}/"),
            now=time.time(),
            upload_seconds=3600,
            task_seconds=STEPS["nothing"].seconds_per_item,
        )
    )
    Dispatcher(cloud.jobs, cloud.queue, cloud.store, cloud.topic, cloud.clock).apply(job, UploadFinished(tasks))
    log = folder / f"{id}.log"
    command = [sys.executable, str(ROOT / "minimoto_service.py"), "--config", str(where.file), "--slots", "1"]
    command += ["--data-dir", str(folder / "data")]
    environ = {**os.environ, "MINIMOTO_NODE": "i-0benchmark", "MINIMOTO_SERVICE_FREE_DISK": "0"}
    return rate(command, environ, log, lambda: done_times(log), tasks)


def done_times(log: Path) -> list[float]:
    """When each task was done, by the service's log."""
    lines = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines if line["message"] == "task done"]


def theirs(where: Deployment, folder: Path, tasks: int, pool: str) -> float:
    """Tasks a second of a Celery worker."""
    from minimoto.aws.clients import client
    from minimoto.wiring import Cloud

    name = f"peer-{uuid.uuid4().hex[:8]}"
    times = folder / f"{name}.times"
    times.touch()
    url = client(Cloud(where.settings).session, where.settings, "sqs").create_queue(QueueName=name)["QueueUrl"]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": where.settings.region,
        "PEER_BROKER": where.settings.endpoint_url.replace("http://", "sqs://local:local@"),
        "PEER_QUEUE": url,
        "PEER_TIMES": str(times),
    }
    send = f"from benchmarks.celery_peer import empty\nfor _ in range({tasks}): empty.delay()"
    subprocess.run([sys.executable, "-c", send], env=environ, check=True)
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_peer", "worker", "--pool", pool, "-l", "ERROR"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", "peer"]
    log = folder / f"{name}.log"
    return rate(command, environ, log, lambda: [float(line) for line in times.read_text().split()], tasks)


def rate(
    command: Sequence[str], environ: dict[str, str], log: Path, times: Callable[[], list[float]], tasks: int
) -> float:
    """Runs a worker until it has done all tasks; returns tasks a second."""
    with log.open("w") as output:
        worker = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        until = time.monotonic() + PATIENCE
        while len(times()) < tasks:
            if worker.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the worker did not do its tasks:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        found = times()
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    return (len(found) - 1) / (max(found) - min(found))


if __name__ == "__main__":
    sys.exit(main())
