"""What AWS has and moto lacks: the public parameter that names the base image, and that image."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ssm.models import Parameter, ssm_backends

from minimoto.config import Config

BASE_IMAGE = "ami-0d1000000000000a1"
AMAZON = "898082745236"
"""The account that publishes Deep Learning AMIs."""


def seed(account: str, region: str) -> None:
    """Makes the base image and its parameter known in a region; hold the locks of EC2 and SSM."""
    ec2 = ec2_backends[account][region]
    if BASE_IMAGE in ec2.amis:
        return
    now = datetime.now(UTC)
    ec2.amis[BASE_IMAGE] = Ami(
        ec2,
        BASE_IMAGE,
        name="Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04), of the embedded AWS",
        description="What machines are made from: processes of this computer",
        owner_id=AMAZON,
        owner_alias="amazon",
        public=True,
        virtualization_type="hvm",
        architecture="x86_64",
        creation_date=now,
        hypervisor="xen",
        root_device_type="ebs",
        region_name=f"{region}a",
    )
    name = Config().base_parameter
    parameter: Any = Parameter  # moto leaves methods of CloudFormation abstract
    ssm_backends[account][region]._parameters[name].append(
        parameter(
            account_id=account,
            name=name,
            value=BASE_IMAGE,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=now,
            version=1,
            data_type="aws:ec2:image",
        )
    )
