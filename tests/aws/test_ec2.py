"""What EC2 does that the embedded one never does: no capacity, failed checks, other people's machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from minimoto.aws.clients import client
from minimoto.aws.fleet import Ec2Fleet, Offer, run_request
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError

CONFIG = Config(name="trip", launch_template="lt-1", service_identity="trip-service")


class Market:
    """EC2 with so much capacity: takes ``run_instances`` off the wire and answers it."""

    def __init__(self, ec2: Any, capacity: dict[str, int], zones: tuple[str, ...] = ()) -> None:
        self.ec2, self.capacity, self.zones = ec2, dict(capacity), zones
        self.asked: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.refusal = "InsufficientInstanceCapacity"

    def __enter__(self) -> Market:
        self.real = self.ec2.run_instances, self.ec2.get_paginator
        self.ec2.run_instances, self.ec2.get_paginator = self.run_instances, self.get_paginator
        return self

    def __exit__(self, *_: object) -> None:
        self.ec2.run_instances, self.ec2.get_paginator = self.real

    def run_instances(self, **request: Any) -> Any:
        market = "spot" if "InstanceMarketOptions" in request else "on-demand"
        offer = str(Offer(market, request["InstanceType"], request.get("Placement", {}).get("AvailabilityZone", "")))
        self.asked.append(f"{offer} {request['MinCount']}-{request['MaxCount']}")
        self.requests.append(request)
        free = min(self.capacity.get(offer, 0), request["MaxCount"])
        if free < request["MinCount"]:
            raise ClientError({"Error": {"Code": self.refusal, "Message": f"No {offer}."}}, "RunInstances")
        self.capacity[offer] -= free
        made = len(self.asked)
        return {"Instances": [machine(f"i-{made}-{n}", offer, request) for n in range(free)]}

    def get_paginator(self, name: str) -> Any:
        pages = {
            "describe_instances": [{"Reservations": []}],
            "describe_subnets": [{"Subnets": [{"AvailabilityZone": zone} for zone in self.zones]}],
        }
        return type("Pages", (), {"paginate": lambda self, **_: pages[name]})()


def machine(id: str, offer: str, request: dict[str, Any]) -> dict[str, Any]:
    return {
        "InstanceId": id,
        "State": {"Name": "pending"},
        "LaunchTime": datetime(2025, 1, 1, tzinfo=UTC),
        "InstanceType": request["InstanceType"],
        "Placement": {"AvailabilityZone": "z1"},
        "Tags": request["TagSpecifications"][0]["Tags"],
        **({"InstanceLifecycle": "spot"} if offer.startswith("spot") else {}),
    }


@pytest.fixture
def config(embedded: Any) -> Config:
    return replace(CONFIG, endpoint_url=embedded.url)


@pytest.fixture
def fleet(session: boto3.session.Session, config: Config) -> Ec2Fleet:
    return Ec2Fleet(session, config)


@pytest.fixture
def market(session: boto3.session.Session, config: Config) -> Callable[..., Market]:
    return lambda capacity, zones=(): Market(client(session, config, "ec2"), capacity, zones)


def test_spot_first_and_all_at_once(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge": 9}) as ec2:
        machines = fleet.launch(3, "pass-1")
    assert ec2.asked == ["spot g5.xlarge 3-3"]
    assert [(m.market, m.type, m.launch_token, m.role) for m in machines] == [
        ("spot", "g5.xlarge", "pass-1", "service")
    ] * 3


def test_on_demand_only(session: boto3.session.Session, config: Config, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge": 9, "on-demand g5.xlarge": 9}) as ec2:
        Ec2Fleet(session, replace(config, market="on-demand")).launch(1, "pass-1")
    assert ec2.asked == ["on-demand g5.xlarge 1-1"]


def test_what_spot_has_is_taken_and_the_rest_on_demand(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge": 2, "on-demand g5.xlarge": 9}) as ec2:
        machines = fleet.launch(5, "pass-1")
    assert ec2.asked == ["spot g5.xlarge 5-5", "spot g5.xlarge 1-5", "on-demand g5.xlarge 3-3"]
    assert [m.market for m in machines] == ["spot"] * 2 + ["on-demand"] * 3


def test_other_types_before_another_market(
    session: boto3.session.Session, config: Config, market: Callable[..., Market]
) -> None:
    fleet = Ec2Fleet(session, replace(config, more_types=("g6.xlarge", "g5.xlarge", "g4dn.xlarge")))
    with market({"on-demand g6.xlarge": 1}) as ec2:
        (machine,) = fleet.launch(1, "pass-1")
    assert [asked.removesuffix(" 1-1") for asked in ec2.asked] == [
        "spot g5.xlarge",
        "spot g6.xlarge",
        "spot g4dn.xlarge",
        "on-demand g5.xlarge",
        "on-demand g6.xlarge",
    ]
    assert (machine.type, machine.market) == ("g6.xlarge", "on-demand")


def test_other_zones_before_another_type(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge in z2": 1, "on-demand g5.xlarge": 1}, ("z2", "z1")) as ec2:
        assert len(fleet.launch(1, "pass-1")) == 1
    assert ec2.asked == ["spot g5.xlarge 1-1", "spot g5.xlarge in z1 1-1", "spot g5.xlarge in z2 1-1"]


@pytest.mark.parametrize("code", ["SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded"])
def test_a_limit_is_the_same_in_every_zone(fleet: Ec2Fleet, market: Callable[..., Market], code: str) -> None:
    with market({"on-demand g5.xlarge": 1}, ("z1", "z2")) as ec2:
        ec2.refusal = code
        assert len(fleet.launch(1, "pass-1")) == 1
    assert ec2.asked == ["spot g5.xlarge 1-1", "on-demand g5.xlarge 1-1"]


def test_fewer_than_wanted_are_better_than_none(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"on-demand g5.xlarge": 1}):
        assert len(fleet.launch(4, "pass-1")) == 1


def test_none_at_all_is_an_error_with_the_reason(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({}), pytest.raises(CloudError, match=r"launching 2 on-demand g5\.xlarge: No on-demand") as caught:
        fleet.launch(2, "pass-1")
    assert caught.value.code == "InsufficientInstanceCapacity"


def test_another_refusal_ends_the_launch(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({}) as ec2:
        ec2.refusal = "UnauthorizedOperation"
        with pytest.raises(CloudError, match="UnauthorizedOperation"):
            fleet.launch(1, "pass-1")
    assert len(ec2.asked) == 1


def test_every_call_has_a_client_token_of_its_own_and_the_same_again(
    fleet: Ec2Fleet, market: Callable[..., Market]
) -> None:
    def tokens(token: str) -> list[str]:
        with market({"on-demand g5.xlarge": 1}, ("z1",)) as ec2:
            fleet.launch(3, token)
        return [request["ClientToken"] for request in ec2.requests]

    first = tokens("pass-1")
    assert len(set(first)) == len(first) > 3
    assert all(len(token) <= 64 for token in first)
    assert tokens("pass-1") == first
    assert not set(tokens("pass-2")) & set(first)


def test_the_request_says_what_setup_made_and_whose_it_is() -> None:
    request = run_request(CONFIG, "lt-1", Offer("spot", "g5.xlarge", "z1"), 1, 4, "pass-1")
    assert request["LaunchTemplate"] == {"LaunchTemplateId": "lt-1", "Version": "$Default"}
    assert request["InstanceMarketOptions"]["SpotOptions"]["InstanceInterruptionBehavior"] == "terminate"
    instance, volume = ({tag["Key"]: tag["Value"] for tag in s["Tags"]} for s in request["TagSpecifications"])
    ours = {"minimoto:deployment": "trip", "minimoto:role": "service"}
    assert instance == {**ours, "Name": "trip-service", "minimoto:launch": "pass-1"}
    assert volume == ours
    assert "InstanceMarketOptions" not in run_request(CONFIG, "lt-1", Offer("on-demand", "g5.xlarge"), 1, 1, "t")


# Against the embedded EC2


def test_a_machine_older_than_the_launch_template_finds_it_by_its_tag(
    cloud: Any, session: boto3.session.Session
) -> None:
    fleet = Ec2Fleet(session, replace(cloud.config, launch_template=""))
    with pytest.raises(ConfigError, match=f"{cloud.config.name} has no launch template"):
        fleet.launch(1, "pass-1")
    ec2 = client(session, cloud.config, "ec2")
    tags = [{"Key": "minimoto:deployment", "Value": cloud.config.name}]
    ec2.create_tags(Resources=[cloud.config.launch_template], Tags=tags)
    (started,) = fleet.launch(1, "pass-1")
    assert [machine.id for machine in cloud.fleet.instances()] == [started.id]


def start(ec2: Any, deployment: str, role: str) -> str:
    tags = [{"Key": "minimoto:deployment", "Value": deployment}, {"Key": "minimoto:role", "Value": role}]
    made = ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [tag for tag in tags if tag["Value"]]}],
    )
    return str(made["Instances"][0]["InstanceId"])


@pytest.mark.parametrize(
    ("of", "role"), [("ours", "client"), ("ours", "watchdog"), ("ours", ""), ("another", "service"), ("", "service")]
)
def test_machines_that_are_not_ours_are_neither_seen_nor_terminated(
    cloud: Any, session: boto3.session.Session, of: str, role: str
) -> None:
    ec2 = client(session, cloud.config, "ec2")
    strange = start(ec2, cloud.config.name if of == "ours" else of, role)
    (ours,) = cloud.fleet.launch(1, "pass-1")
    assert [machine.id for machine in cloud.fleet.instances()] == [ours.id]
    with pytest.raises(CloudError, match=f"{strange}: no service machine of {cloud.config.name}"):
        cloud.fleet.terminate([ours.id, strange])
    states = ec2.describe_instances(InstanceIds=[ours.id, strange])["Reservations"]
    assert [r["Instances"][0]["State"]["Name"] for r in states] == ["running", "running"]


def test_the_machines_of_a_role(cloud: Any, session: boto3.session.Session) -> None:
    id = start(client(session, cloud.config, "ec2"), cloud.config.name, "watchdog")
    assert [(machine.id, machine.role) for machine in cloud.fleet.instances("watchdog")] == [(id, "watchdog")]
    assert cloud.fleet.instances("client") == []


def test_stopped_machines_are_seen(cloud: Any, session: boto3.session.Session) -> None:
    (machine,) = cloud.fleet.launch(1, "pass-1")
    client(session, cloud.config, "ec2").stop_instances(InstanceIds=[machine.id])
    (seen,) = cloud.fleet.instances()
    assert (seen.state, seen.healthy) == ("stopped", None)


@pytest.mark.parametrize(
    ("system", "instance", "healthy"),
    [
        ("ok", "ok", True),
        ("ok", "impaired", False),
        ("impaired", "initializing", False),
        ("ok", "initializing", None),
        ("insufficient-data", "ok", None),
        ("not-applicable", "not-applicable", None),
    ],
)
def test_both_status_checks_count(
    fleet: Ec2Fleet, session: boto3.session.Session, config: Config, system: str, instance: str, healthy: Any
) -> None:
    status = {
        "InstanceId": "i-1",
        "SystemStatus": {"Status": system},
        "InstanceStatus": {"Status": instance},
    }
    running = machine("i-1", "on-demand", run_request(CONFIG, "lt-1", Offer("on-demand", "g5.xlarge"), 1, 1, "t"))
    with Stubber(client(session, config, "ec2")) as stub:
        seen = {"Reservations": [{"Instances": [{**running, "State": {"Name": "running"}}]}]}
        stub.add_response("describe_instances", seen)
        stub.add_response(
            "describe_instance_status",
            {"InstanceStatuses": [status]},
            {"InstanceIds": ["i-1"], "IncludeAllInstances": True},
        )
        assert [machine.healthy for machine in fleet.instances()] == [healthy]
