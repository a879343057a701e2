"""What no role may do, asked of the embedded AWS with the role's own credentials and IAM enforced.

Plain clients are used, for minimoto's own adapters refuse most of this before any request is made. moto is taught what
it leaves out in :mod:`tests.roles.enforcement`; that the documents themselves carry the conditions is in test_policies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from minimoto.aws.policies import DEPLOYMENT_TAG, ROLE_TAG, ROLES, role_name
from minimoto.local.server import ACCOUNT

from .conftest import IMAGE, Neighbours, Roles

REFUSED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}

Call = Callable[[Callable[[str], Any], Roles, Roles], Any]
"""Makes a call, given a client by its service, our deployment and the other one."""


@dataclass(frozen=True)
class Case:
    roles: tuple[str, ...]
    what: str
    call: Call


def case(roles: str, what: str, call: Call) -> Case:
    return Case(ROLES if roles == "all" else tuple(roles.split()), what, call)


def item(config: Any, partition: str) -> dict[str, Any]:
    return {"TableName": config.table, "Item": {"pk": {"S": partition}, "sk": {"S": "x"}}}


def key(config: Any, partition: str) -> dict[str, Any]:
    return {"TableName": config.table, "Key": {"pk": {"S": partition}, "sk": {"S": "x"}}}


def tags(deployment: str, role: str) -> list[Any]:
    pairs = [{"Key": DEPLOYMENT_TAG, "Value": deployment}, {"Key": ROLE_TAG, "Value": role}]
    return [{"ResourceType": "instance", "Tags": pairs}]


def launch(client: Callable[[str], Any], ours: Roles, **changes: Any) -> Any:
    """What the watchdog may do, but for the changes."""
    request = {
        "LaunchTemplate": {"LaunchTemplateId": ours.config.launch_template},
        "TagSpecifications": tags(ours.config.name, "service"),
        "MinCount": 1,
        "MaxCount": 1,
        **changes,
    }
    return client("ec2").run_instances(**{name: value for name, value in request.items() if value is not None})


def assume(client: Callable[[str], Any], ours: Roles, role: str) -> Any:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role_name(role, ours.config)}"
    return client("sts").assume_role(RoleArn=arn, RoleSessionName="up")


EVERYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})

CASES = [
    # Another deployment's resources
    case("all", "read their input", lambda c, o, t: c("s3").get_object(Bucket=t.config.bucket_input, Key="j/in/a.jpg")),
    case("all", "read their film", lambda c, o, t: c("s3").get_object(Bucket=t.config.bucket_output, Key="film.mp4")),
    case("all", "list their input", lambda c, o, t: c("s3").list_objects_v2(Bucket=t.config.bucket_input)),
    case("all", "look at their bucket", lambda c, o, t: c("s3").head_bucket(Bucket=t.config.bucket_output)),
    case("all", "write their input", lambda c, o, t: c("s3").put_object(Bucket=t.config.bucket_input, Key="j/in/a")),
    case("all", "write their output", lambda c, o, t: c("s3").put_object(Bucket=t.config.bucket_output, Key="a")),
    case(
        "all",
        "delete their work",
        lambda c, o, t: c("s3").delete_object(Bucket=t.config.bucket_input, Key="j/work/0/a"),
    ),
    case(
        "service",
        "copy from them to us",
        lambda c, o, t: c("s3").copy_object(
            Bucket=o.config.bucket_input, Key="j/in/a", CopySource={"Bucket": t.config.bucket_input, "Key": "j/in/a"}
        ),
    ),
    case(
        "all",
        "send to their queue",
        lambda c, o, t: c("sqs").send_message_batch(
            QueueUrl=t.config.queue_url, Entries=[{"Id": "1", "MessageBody": "x"}]
        ),
    ),
    case("all", "receive from them", lambda c, o, t: c("sqs").receive_message(QueueUrl=t.config.queue_url)),
    case("all", "receive their dead", lambda c, o, t: c("sqs").receive_message(QueueUrl=t.config.dead_letter_url)),
    case("all", "read their table", lambda c, o, t: c("dynamodb").get_item(**key(t.config, "JOB#x"))),
    case("all", "write their table", lambda c, o, t: c("dynamodb").put_item(**item(t.config, "JOB#x"))),
    case(
        "all",
        "batch-read their table",
        lambda c, o, t: c("dynamodb").batch_get_item(
            RequestItems={t.config.table: {"Keys": [key(t.config, "JOB#x")["Key"]]}}
        ),
    ),
    case("all", "announce for them", lambda c, o, t: c("sns").publish(TopicArn=t.config.topic_arn, Message="x")),
    case(
        "all",
        "terminate their node",
        lambda c, o, t: c("ec2").terminate_instances(InstanceIds=[t.machines["service"]]),
    ),
    # IAM
    case("all", "make a user", lambda c, o, t: c("iam").create_user(UserName="eve")),
    case("all", "make a key", lambda c, o, t: c("iam").create_access_key(UserName="root")),
    case("all", "make a role", lambda c, o, t: c("iam").create_role(RoleName="eve", AssumeRolePolicyDocument="{}")),
    *(
        case(
            role,
            "widen its own role",
            lambda c, o, t, role=role: c("iam").put_role_policy(
                RoleName=role_name(role, o.config), PolicyName="more", PolicyDocument=EVERYTHING
            ),
        )
        for role in ROLES
    ),
    case(
        "all",
        "attach a policy",
        lambda c, o, t: c("iam").attach_role_policy(
            RoleName=role_name("client", o.config), PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        ),
    ),
    case("client service", "become the watchdog", lambda c, o, t: assume(c, o, "watchdog")),
    case("watchdog", "become the service", lambda c, o, t: assume(c, o, "service")),
    # Machines
    *(
        case(
            "all",
            f"terminate the {role}",
            lambda c, o, t, role=role: c("ec2").terminate_instances(InstanceIds=[o.machines[role]]),
        )
        for role in ("client", "watchdog")
    ),
    case(
        "client service",
        "terminate a node",
        lambda c, o, t: c("ec2").terminate_instances(InstanceIds=[o.machines["service"]]),
    ),
    case(
        "watchdog",
        "terminate the client among nodes",
        lambda c, o, t: c("ec2").terminate_instances(InstanceIds=[o.machines["service"], o.machines["client"]]),
    ),
    case("client service", "look at machines", lambda c, o, t: c("ec2").describe_instances()),
    case("client service", "launch a node", lambda c, o, t: launch(c, o)),
    case("all", "stop a machine", lambda c, o, t: c("ec2").stop_instances(InstanceIds=[o.machines["service"]])),
    case("watchdog", "launch without the template", lambda c, o, t: launch(c, o, LaunchTemplate=None, ImageId=IMAGE)),
    case(
        "watchdog",
        "launch their template",
        lambda c, o, t: launch(c, o, LaunchTemplate={"LaunchTemplateId": t.config.launch_template}),
    ),
    case("watchdog", "launch another image", lambda c, o, t: launch(c, o, ImageId=IMAGE)),
    *(
        case(
            "watchdog",
            f"launch with the profile of the {role}",
            lambda c, o, t, role=role: launch(c, o, IamInstanceProfile={"Name": role_name(role, o.config)}),
        )
        for role in ("client", "watchdog")
    ),
    case(
        "watchdog",
        "launch with their profile",
        lambda c, o, t: launch(c, o, IamInstanceProfile={"Name": role_name("service", t.config)}),
    ),
    case("watchdog", "launch untagged", lambda c, o, t: launch(c, o, TagSpecifications=None)),
    case(
        "watchdog",
        "launch for them",
        lambda c, o, t: launch(c, o, TagSpecifications=tags(t.config.name, "service")),
    ),
    case(
        "watchdog",
        "launch a client",
        lambda c, o, t: launch(c, o, TagSpecifications=tags(o.config.name, "client")),
    ),
    case(
        "all",
        "tag the client as a node",
        lambda c, o, t: c("ec2").create_tags(
            Resources=[o.machines["client"]], Tags=[{"Key": ROLE_TAG, "Value": "service"}]
        ),
    ),
    case(
        "all",
        "change the template",
        lambda c, o, t: c("ec2").create_launch_template_version(
            LaunchTemplateId=o.config.launch_template, LaunchTemplateData={"ImageId": IMAGE}
        ),
    ),
    case(
        "all",
        "open the firewall",
        lambda c, o, t: c("ec2").create_security_group(GroupName="open", Description="open"),
    ),
    # What in our own deployment is not its business
    case("client watchdog", "write a film", lambda c, o, t: c("s3").put_object(Bucket=o.config.bucket_output, Key="a")),
    case("all", "delete a film", lambda c, o, t: c("s3").delete_object(Bucket=o.config.bucket_output, Key="film.mp4")),
    case("all", "delete a photo", lambda c, o, t: c("s3").delete_object(Bucket=o.config.bucket_input, Key="j/in/a")),
    case(
        "client watchdog",
        "forge work",
        lambda c, o, t: c("s3").put_object(Bucket=o.config.bucket_input, Key="j/work/0/a"),
    ),
    case("watchdog", "look at a photo", lambda c, o, t: c("s3").get_object(Bucket=o.config.bucket_input, Key="j/in/a")),
    case("all", "write outside a job", lambda c, o, t: c("s3").put_object(Bucket=o.config.bucket_input, Key="a.jpg")),
    case("all", "list all buckets", lambda c, o, t: c("s3").list_buckets()),
    case("all", "delete a bucket", lambda c, o, t: c("s3").delete_bucket(Bucket=o.config.bucket_input)),
    case(
        "all",
        "open a bucket",
        lambda c, o, t: c("s3").put_bucket_policy(Bucket=o.config.bucket_output, Policy=EVERYTHING),
    ),
    case("client watchdog", "take a task", lambda c, o, t: c("sqs").receive_message(QueueUrl=o.config.queue_url)),
    case("all", "empty the queue", lambda c, o, t: c("sqs").purge_queue(QueueUrl=o.config.queue_url)),
    case("all", "delete the queue", lambda c, o, t: c("sqs").delete_queue(QueueUrl=o.config.queue_url)),
    case(
        "client service",
        "read dead letters",
        lambda c, o, t: c("sqs").receive_message(QueueUrl=o.config.dead_letter_url),
    ),
    case(
        "client watchdog",
        "bury",
        lambda c, o, t: c("sqs").send_message(QueueUrl=o.config.dead_letter_url, MessageBody="x"),
    ),
    case("client service", "write the ledger", lambda c, o, t: c("dynamodb").put_item(**item(o.config, "LEDGER"))),
    case("client service", "read decisions", lambda c, o, t: c("dynamodb").get_item(**key(o.config, "DECISIONS"))),
    case("client", "play a node", lambda c, o, t: c("dynamodb").put_item(**item(o.config, "NODE"))),
    case("client service", "delete an item", lambda c, o, t: c("dynamodb").delete_item(**key(o.config, "JOB#x"))),
    case("all", "scan the table", lambda c, o, t: c("dynamodb").scan(TableName=o.config.table)),
    case("all", "delete the table", lambda c, o, t: c("dynamodb").delete_table(TableName=o.config.table)),
    case(
        "all",
        "listen to the topic",
        lambda c, o, t: c("sns").subscribe(TopicArn=o.config.topic_arn, Protocol="email", Endpoint="eve@example.com"),
    ),
    case(
        "client service",
        "publish a metric",
        lambda c, o, t: c("cloudwatch").put_metric_data(
            Namespace="DeepStyleQueue", MetricData=[{"MetricName": "m", "Value": 1.0}]
        ),
    ),
    case(
        "watchdog",
        "publish in another namespace",
        lambda c, o, t: c("cloudwatch").put_metric_data(
            Namespace="AnotherTeam", MetricData=[{"MetricName": "m", "Value": 1.0}]
        ),
    ),
    case("all", "delete alarms", lambda c, o, t: c("cloudwatch").delete_alarms(AlarmNames=["x"])),
    case("all", "read a secret parameter", lambda c, o, t: c("ssm").get_parameter(Name="/secret")),
]


@pytest.mark.parametrize(
    ("role", "asked"), [pytest.param(role, c, id=f"{role}: {c.what}") for c in CASES for role in c.roles]
)
def test_a_role_is_refused(neighbours: Neighbours, role: str, asked: Case) -> None:
    ours, theirs = neighbours.ours, neighbours.theirs
    with pytest.raises(ClientError) as caught:
        asked.call(lambda service: ours.client(role, service), ours, theirs)
    error = caught.value.response
    # A HEAD has no body to say more in.
    assert error["Error"]["Code"] in REFUSED or error["ResponseMetadata"]["HTTPStatusCode"] == 403, error


def test_what_the_cases_are_changes_of_is_allowed(neighbours: Neighbours) -> None:
    """So that a refusal is due to the change, and not to a request that nobody could make."""
    ours = neighbours.ours
    watchdog = ours.client("watchdog", "ec2")
    [machine] = launch(lambda service: ours.client("watchdog", service), ours)["Instances"]
    watchdog.terminate_instances(InstanceIds=[machine["InstanceId"]])
    ours.client("client", "s3").put_object(Bucket=ours.config.bucket_input, Key="allowed/in/a.jpg", Body=b"x")
    assert ours.client("service", "s3").get_object(Bucket=ours.config.bucket_input, Key="allowed/in/a.jpg")
    ours.client("service", "s3").copy_object(
        Bucket=ours.config.bucket_input,
        Key="allowed/in/b.jpg",
        CopySource={"Bucket": ours.config.bucket_input, "Key": "allowed/in/a.jpg"},
    )
    ours.client("service", "dynamodb").put_item(**item(ours.config, "NODE"))
    ours.client("watchdog", "dynamodb").put_item(**item(ours.config, "LEDGER"))


def test_credentials_that_nobody_gave_out_are_refused(neighbours: Neighbours) -> None:
    from minimoto.aws.clients import client
    from minimoto.aws.session import open_session

    config = neighbours.ours.config
    with pytest.raises(ClientError) as caught:
        client(open_session(config), config, "sqs").receive_message(QueueUrl=config.queue_url)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
