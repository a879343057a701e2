"""The peer of ``overhead.py``: a Celery application on SQS whose task does nothing but say when it was done."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("peer", broker=os.environ["PEER_BROKER"])
app.conf.update(
    broker_transport_options={
        "region": os.environ["AWS_DEFAULT_REGION"],
        "is_secure": False,
        "visibility_timeout": 120,
        "wait_time_seconds": 4,
        "polling_interval": 0.01,
        "predefined_queues": {
            "peer": {
                "url": os.environ["PEER_QUEUE"],
                "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
                "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            }
        },
    },
    task_default_queue="peer",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(name="empty")  # type: ignore[untyped-decorator]
def empty() -> None:
    """Appends the time at which it was done."""
    with open(os.environ["PEER_TIMES"], "a") as file:
        file.write(f"{time.time()}\n")
