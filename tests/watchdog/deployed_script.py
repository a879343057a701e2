"""A deployment on the embedded AWS, and ``minimoto_watchdog.py`` as a user starts it there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from minimoto import config as settings
from minimoto.aws.clients import client
from minimoto.config import Config
from minimoto.wiring import Cloud

SCRIPT = Path(__file__).parents[2] / "minimoto_watchdog.py"


class Deployed:
    """A deployment on the embedded AWS, and its command."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.cloud, self.folder = Cloud(config), folder
        self.file = folder / "configure.ini"
        settings.save(config, self.file)

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        kept |= {"MINIMOTO_CONFIG": str(self.file), "MINIMOTO_INIT_LOG_FILE": str(self.folder / "minimoto.log"),
                 "AWS_EC2_METADATA_DISABLED": "true", **environ}  # fmt: skip
        command = [sys.executable, str(SCRIPT), *arguments]
        return subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def set_cpu(self, id: str, percent: float) -> None:
        """What CloudWatch would say of a machine."""
        client(self.cloud.session, self.cloud.config, "cloudwatch").put_metric_data(
            Namespace="AWS/EC2",
            MetricData=[{"MetricName": "CPUUtilization", "Dimensions": [{"Name": "InstanceId", "Value": id}],
                         "Value": percent, "Unit": "Percent", "Timestamp": time.time() - 5}],
        )  # fmt: skip

    def stop(self, id: str) -> None:
        client(self.cloud.session, self.cloud.config, "ec2").stop_instances(InstanceIds=[id])
