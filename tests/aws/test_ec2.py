"""What EC2 does that the embedded one never does: no capacity, failed checks, other people's machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from minimoto.aws.clients import client
from minimoto.aws.fleet import Ec2Fleet
from minimoto.aws.launching import fleet_request, rounds
from minimoto.config import Config
from minimoto.core.markets import Pool
from minimoto.errors import CloudError, ConfigError
from minimoto.ports import Launched

CONFIG = Config(name="trip", launch_template="lt-1", service_identity="trip-service")


class Market:
    """EC2 with so much capacity: takes ``create_fleet`` off the wire and answers it."""

    def __init__(self, ec2: Any, capacity: dict[str, int], zones: tuple[str, ...] = ()) -> None:
        self.ec2, self.capacity, self.zones = ec2, dict(capacity), zones
        self.asked: list[tuple[int, list[str]]] = []
        self.requests: list[dict[str, Any]] = []
        self.refusal = "InsufficientInstanceCapacity"

    def __enter__(self) -> Market:
        self.real = self.ec2.create_fleet, self.ec2.get_paginator
        self.ec2.create_fleet, self.ec2.get_paginator = self.create_fleet, self.get_paginator
        return self

    def __exit__(self, *_: object) -> None:
        self.ec2.create_fleet, self.ec2.get_paginator = self.real

    def create_fleet(self, **request: Any) -> Any:
        wanted = request["TargetCapacitySpecification"]
        (config,) = request["LaunchTemplateConfigs"]
        pools = [
            Pool(wanted["DefaultTargetCapacityType"], o["InstanceType"], o.get("AvailabilityZone", ""))
            for o in config["Overrides"]
        ]
        self.asked.append((wanted["TotalTargetCapacity"], [str(pool) for pool in pools]))
        self.requests.append(request)
        answer: dict[str, Any] = {"Instances": [], "Errors": []}
        left = wanted["TotalTargetCapacity"]
        for pool, override in zip(pools, config["Overrides"], strict=True):
            given = min(left, self.capacity.get(str(pool), 0))
            self.capacity[str(pool)] = self.capacity.get(str(pool), 0) - given
            left -= given
            told = {"LaunchTemplateAndOverrides": {"Overrides": override}, "Lifecycle": pool.market}
            ids = [f"i-{len(self.asked)}-{pool.type}-{n}" for n in range(given)]
            if given:
                answer["Instances"].append({**told, "InstanceIds": ids, "InstanceType": pool.type})
            if left:
                answer["Errors"].append({**told, "ErrorCode": self.refusal, "ErrorMessage": f"No {pool}."})
        return answer

    def get_paginator(self, name: str) -> Any:
        prices = [
            {"InstanceType": "g5.xlarge", "AvailabilityZone": zone, "SpotPrice": f"0.{4 + n}"}
            for n, zone in enumerate(self.zones)
        ]
        pages = {
            "describe_instances": [{"Reservations": []}],
            "describe_subnets": [{"Subnets": [{"AvailabilityZone": zone} for zone in self.zones]}],
            "describe_spot_price_history": [{"SpotPriceHistory": prices}],
        }
        return type("Pages", (), {"paginate": lambda self, **_: pages[name]})()


def machine(id: str) -> dict[str, Any]:
    ours = {"minimoto:deployment": "trip", "minimoto:role": "service"}
    return {
        "InstanceId": id,
        "State": {"Name": "running"},
        "LaunchTime": datetime(2025, 1, 1, tzinfo=UTC),
        "InstanceType": "g5.xlarge",
        "Placement": {"AvailabilityZone": "z1"},
        "Tags": [{"Key": key, "Value": value} for key, value in ours.items()],
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


def markets(had: Launched) -> list[str]:
    return [pool.market for pool in had.machines.values()]


def test_spot_first_and_all_at_once(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge": 9}) as ec2:
        had = fleet.launch(3, "pass-1")
    assert ec2.asked == [(3, ["spot g5.xlarge"])]
    assert list(had.machines.values()) == [Pool("spot", "g5.xlarge")] * 3


def test_on_demand_only(session: boto3.session.Session, config: Config, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge": 9, "on-demand g5.xlarge": 9}) as ec2:
        Ec2Fleet(session, replace(config, market="on-demand")).launch(1, "pass-1")
    assert ec2.asked == [(1, ["on-demand g5.xlarge"])]


def test_what_spot_has_is_taken_and_the_rest_on_demand(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"spot g5.xlarge": 2, "on-demand g5.xlarge": 9}) as ec2:
        had = fleet.launch(5, "pass-1")
    assert ec2.asked == [(5, ["spot g5.xlarge"]), (3, ["on-demand g5.xlarge"])]
    assert markets(had) == ["spot"] * 2 + ["on-demand"] * 3
    assert not had.refused, "a pool that gave some may be asked again"


def test_other_types_before_another_market(
    session: boto3.session.Session, config: Config, market: Callable[..., Market]
) -> None:
    fleet = Ec2Fleet(session, replace(config, more_types=("g6.xlarge", "g5.xlarge", "g4dn.xlarge")))
    with market({"on-demand g6.xlarge": 1}) as ec2:
        had = fleet.launch(1, "pass-1")
    types = ["g5.xlarge", "g6.xlarge", "g4dn.xlarge"]
    assert ec2.asked == [(1, [f"{market} {type}" for type in types]) for market in ("spot", "on-demand")]
    assert list(had.machines.values()) == [Pool("on-demand", "g6.xlarge")]
    assert [str(pool) for pool in had.refused] == [*(f"spot {type}" for type in types), "on-demand g5.xlarge"]


def test_pools_are_types_and_zones_with_their_prices(
    session: boto3.session.Session, config: Config, market: Callable[..., Market]
) -> None:
    with market({}, ("z1", "z2")):
        pools = Ec2Fleet(session, replace(config, more_types=("x9.huge",))).pools(1e9)
    assert [(str(pool), pool.price) for pool in pools] == [
        ("spot g5.xlarge in z1", 0.4),
        ("spot g5.xlarge in z2", 0.5),
        ("spot x9.huge in z1", None),
        ("spot x9.huge in z2", None),
        ("on-demand g5.xlarge in z1", 1.006),
        ("on-demand g5.xlarge in z2", 1.006),
        ("on-demand x9.huge in z1", None),
        ("on-demand x9.huge in z2", None),
    ]


@pytest.mark.parametrize("code", ["SpotMaxPriceTooLow", "MaxSpotInstanceCountExceeded", "InvalidFleetConfiguration"])
def test_whatever_a_pool_lacks_the_next_is_asked(fleet: Ec2Fleet, market: Callable[..., Market], code: str) -> None:
    with market({"on-demand g5.xlarge": 1}) as ec2:
        ec2.refusal = code
        had = fleet.launch(1, "pass-1")
    assert (markets(had), had.refused) == (["on-demand"], {Pool("spot", "g5.xlarge"): code})


def test_fewer_than_wanted_are_better_than_none(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({"on-demand g5.xlarge": 1}):
        assert markets(fleet.launch(4, "pass-1")) == ["on-demand"]


def test_another_refusal_ends_the_launch(fleet: Ec2Fleet, market: Callable[..., Market]) -> None:
    with market({}) as ec2:
        ec2.refusal = "UnauthorizedOperation"
        had = fleet.launch(1, "pass-1")
    assert had == Launched({}, {}, "launching spot g5.xlarge: No spot g5.xlarge. (UnauthorizedOperation)")
    assert len(ec2.asked) == 1


def test_every_call_has_a_client_token_of_its_own_and_the_same_again(
    fleet: Ec2Fleet, market: Callable[..., Market]
) -> None:
    def tokens(token: str) -> list[str]:
        with market({"on-demand g5.xlarge": 1}) as ec2:
            fleet.launch(3, token)
        return [request["ClientToken"] for request in ec2.requests]

    first = tokens("pass-1")
    assert len(set(first)) == len(first) == 2
    assert all(len(token) <= 64 for token in first)
    assert tokens("pass-1") == first
    assert not set(tokens("pass-2")) & set(first)


def test_the_request_says_what_setup_made_and_whose_it_is() -> None:
    pools = [Pool("spot", "g5.xlarge", "z1"), Pool("spot", "g6.xlarge")]
    request = fleet_request(CONFIG, "lt-1", pools, 4, "pass-1/0")
    (config,) = request["LaunchTemplateConfigs"]
    assert config["LaunchTemplateSpecification"] == {"LaunchTemplateId": "lt-1", "Version": "$Default"}
    assert config["Overrides"] == [
        {"InstanceType": "g5.xlarge", "Priority": 0.0, "AvailabilityZone": "z1"},
        {"InstanceType": "g6.xlarge", "Priority": 1.0},
    ]
    assert request["SpotOptions"]["InstanceInterruptionBehavior"] == "terminate"
    tags = {s["ResourceType"]: {tag["Key"]: tag["Value"] for tag in s["Tags"]} for s in request["TagSpecifications"]}
    ours = {"minimoto:deployment": "trip", "minimoto:role": "service"}
    assert tags["instance"] == {**ours, "Name": "trip-service", "minimoto:launch": "pass-1"}
    assert tags["volume"] == tags["fleet"] == ours
    on_demand = fleet_request(CONFIG, "lt-1", [Pool("on-demand", "g5.xlarge")], 1, "t/0")
    assert (on_demand["OnDemandOptions"], "SpotOptions" in on_demand) == ({"AllocationStrategy": "prioritized"}, False)


def test_a_fleet_is_of_one_market() -> None:
    pools = [Pool("spot", "a"), Pool("spot", "b"), Pool("on-demand", "a"), Pool("spot", "c")]
    assert rounds(pools) == [pools[:2], pools[2:3], pools[3:]]


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
    started = fleet.launch(1, "pass-1").ids
    assert [machine.id for machine in cloud.fleet.instances()] == started


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
    (ours,) = cloud.fleet.launch(1, "pass-1").ids
    assert [machine.id for machine in cloud.fleet.instances()] == [ours]
    with pytest.raises(CloudError, match=f"{strange}: no service machine of {cloud.config.name}"):
        cloud.fleet.terminate([ours, strange])
    states = ec2.describe_instances(InstanceIds=[ours, strange])["Reservations"]
    assert [r["Instances"][0]["State"]["Name"] for r in states] == ["running", "running"]


def test_the_machines_of_a_role(cloud: Any, session: boto3.session.Session) -> None:
    id = start(client(session, cloud.config, "ec2"), cloud.config.name, "watchdog")
    assert [(machine.id, machine.role) for machine in cloud.fleet.instances("watchdog")] == [(id, "watchdog")]
    assert cloud.fleet.instances("client") == []


def test_stopped_machines_are_seen(cloud: Any, session: boto3.session.Session) -> None:
    client(session, cloud.config, "ec2").stop_instances(InstanceIds=cloud.fleet.launch(1, "pass-1").ids)
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
    with Stubber(client(session, config, "ec2")) as stub:
        seen = {"Reservations": [{"Instances": [machine("i-1")]}]}
        stub.add_response("describe_instances", seen)
        stub.add_response(
            "describe_instance_status",
            {"InstanceStatuses": [status]},
            {"InstanceIds": ["i-1"], "IncludeAllInstances": True},
        )
        assert [machine.healthy for machine in fleet.instances()] == [healthy]
