"""What setup asks of AWS itself, in several partitions: regions, ARNs, TLS, encryption, IMDSv2, tags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from setup_account import PLAIN, Account

from minimoto.aws.resources import RESOURCES
from minimoto.aws.resources.cleanup import remove
from minimoto.aws.resources.context import Context
from minimoto.config import Config

REGIONS = {"eu-west-1": "aws", "cn-north-1": "aws-cn"}


@dataclass
class Asked:
    """What was asked in each operation."""

    account: Account
    ctx: Context
    partition: str
    of: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def one(self, operation: str) -> dict[str, Any]:
        return self.of[operation][0]


@pytest.fixture(scope="module", params=REGIONS)
def asked(
    account: Account, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    region, partition = request.param, REGIONS[request.param]
    account = Account(account.url)
    of: dict[str, list[dict[str, Any]]] = {}

    def see(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        of.setdefault(model.name, []).append(params)
        if model.name == "CreateImage":
            # moto cannot tag snapshots here.
            return {**params, "TagSpecifications": params["TagSpecifications"][:1]}
        if model.name == "GetParameter" and "canonical" in params["Name"]:
            # moto does not have Ubuntu's images.
            return {"Name": Config().base_parameter}
        return params

    def zones(params: Any, **_: Any) -> Any:
        # moto knows no offers of this partition.
        if partition == "aws":
            return None
        offers = [{"Location": f"{region}{zone}"} for zone in "ab"]
        return SimpleNamespace(status_code=200), {"InstanceTypeOfferings": offers}

    account._session.events.register("provide-client-params", see)
    account._session.events.register("before-call.ec2.DescribeInstanceTypeOfferings", zones)
    # Without an endpoint: as it is in AWS.
    config = Config(name=f"real-{region[:2]}", region=region)
    keys = tmp_path_factory.mktemp("keys")
    before = account.state(region)
    ctx, outcome = account.set_up(config, keys, partition=partition, tls_only=True, point_in_time_recovery=True)
    assert len(outcome.made) == len(PLAIN)
    yield Asked(account, ctx, partition, dict(of))
    again, outcome = account.set_up(ctx.config, keys, partition=partition, tls_only=True, point_in_time_recovery=True)
    assert (outcome.made, outcome.repaired, outcome.drift) == ([], [], [])
    assert [call for call in account.calls if call.mutating] == []
    removal = remove(again, RESOURCES, keep_results=False, say=lambda line: None)
    assert removal.problems == []
    assert account.state(region) == before


def test_buckets_are_made_in_the_region_private_encrypted_and_tls_only(asked: Asked) -> None:
    s3, config = asked.account.client("s3", asked.ctx.config.region), asked.ctx.config
    assert asked.one("CreateBucket")["CreateBucketConfiguration"]["LocationConstraint"] == config.region
    for bucket in (config.bucket_input, config.bucket_output):
        (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert statement["Resource"] == [f"arn:{asked.partition}:s3:::{bucket}{end}" for end in ("", "/*")]
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
        assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        owner = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        assert owner == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    expiry = s3.get_bucket_lifecycle_configuration(Bucket=config.bucket_input)["Rules"][1]["Expiration"]
    assert expiry == {"Days": config.input_days}


def test_queues_are_encrypted_poll_long_and_speak_tls_only(asked: Asked) -> None:
    sqs, config = asked.account.client("sqs", asked.ctx.config.region), asked.ctx.config
    for url in (config.queue_url, config.dead_letter_url):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["SqsManagedSseEnabled"] == "true"
        assert attributes["ReceiveMessageWaitTimeSeconds"] == "20"
        (statement,) = json.loads(attributes["Policy"])["Statement"]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert statement["Resource"] == [attributes["QueueArn"]]
    redrive = json.loads(
        sqs.get_queue_attributes(QueueUrl=config.queue_url, AttributeNames=["RedrivePolicy"])["Attributes"][
            "RedrivePolicy"
        ]
    )
    assert redrive["deadLetterTargetArn"].startswith(f"arn:{asked.partition}:sqs:{config.region}:")
    assert redrive["maxReceiveCount"] == config.receive_limit


def test_machines_have_imdsv2_encrypted_disks_and_a_profile(asked: Asked) -> None:
    assert len(asked.of["RunInstances"]) == 3
    for request in asked.of["RunInstances"]:
        assert request["MetadataOptions"] == {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
        }
        (disk,) = request["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"] is True
        assert disk["Ebs"]["VolumeType"] == "gp3"
        assert disk["Ebs"]["DeleteOnTermination"] is True
        assert request["IamInstanceProfile"]["Name"].startswith(asked.ctx.config.name)
        assert {spec["ResourceType"] for spec in request["TagSpecifications"]} == {"instance", "volume"}
        assert len(request["ClientToken"]) > 8
        assert "AKIA" not in request["UserData"]


def test_the_image_and_its_snapshots_are_tagged(asked: Asked) -> None:
    request = asked.one("CreateImage")
    assert {spec["ResourceType"] for spec in request["TagSpecifications"]} == {"image", "snapshot"}
    tags = {tag["Key"]: tag["Value"] for tag in request["TagSpecifications"][1]["Tags"]}
    assert tags["minimoto:deployment"] == asked.ctx.config.name
    assert request["NoReboot"] is False


def test_the_launch_template_repeats_what_the_machines_have(asked: Asked) -> None:
    data = asked.one("CreateLaunchTemplate")["LaunchTemplateData"]
    assert data["ImageId"] == asked.ctx.config.service_ami
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    tags = {tag["Key"]: tag["Value"] for tag in data["TagSpecifications"][0]["Tags"]}
    assert tags["minimoto:role"] == "service"
    assert "minimoto:run" not in tags


def test_only_the_public_half_of_the_key_leaves(asked: Asked) -> None:
    material = asked.one("ImportKeyPair")["PublicKeyMaterial"].decode()
    assert material.startswith("ssh-ed25519 ")
    assert "PRIVATE" in Path(asked.ctx.config.key_file).read_text()
    assert "PRIVATE" not in str(asked.of)


def test_small_machines_start_from_ubuntu_and_the_service_from_the_deep_learning_image(asked: Asked) -> None:
    names = [request["Name"] for request in asked.of["GetParameter"]]
    assert Config().base_parameter in names
    assert [name for name in names if name.startswith("/aws/service/canonical/ubuntu/server/24.04/")]


def test_the_trust_and_the_policies_name_the_partition(asked: Asked) -> None:
    iam = asked.account.client("iam", asked.ctx.config.region)
    role = iam.get_role(RoleName=asked.ctx.id("watchdog-role"))["Role"]
    suffix = ".cn" if asked.partition == "aws-cn" else ""
    principal = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert principal == {"Service": f"ec2.amazonaws.com{suffix}"}
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="minimoto")["PolicyDocument"]
    text = json.dumps(policy)
    assert f"arn:{asked.partition}:ec2:{asked.ctx.config.region}" in text
    assert asked.ctx.config.launch_template in text


def test_the_table_can_be_restored_and_expires_items(asked: Asked) -> None:
    dynamodb, name = asked.account.client("dynamodb", asked.ctx.config.region), asked.ctx.config.table
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert dynamodb.describe_table(TableName=name)["Table"]["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
