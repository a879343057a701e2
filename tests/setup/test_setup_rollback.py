"""Every AWS call of a setup fails in turn, in three ways; afterwards the account is what it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from setup_account import Account, Call, Installed, State, gone, make_look_alikes, new, unique

from minimoto.aws.resources import RESOURCES
from minimoto.aws.resources.context import Context
from minimoto.aws.resources.setup import Setup
from minimoto.config import Config
from minimoto.errors import InstallFailed, SetupFailed

PARTS = 30
"""The calls are dealt out to so many tests, so that several processes can share them."""


@dataclass
class Scene:
    """An account with another deployment and look-alikes in it, and the calls of a setup beside them."""

    account: Account
    victim: str
    before: State
    calls: list[Call]
    standing: Config
    keys: Path


@pytest.fixture(scope="module")
def scene(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    keys = tmp_path_factory.mktemp("keys")
    standing, _ = account.set_up(account.config(unique("standing")), keys)
    victim = unique("victim")
    make_look_alikes(account, victim)
    before = account.state()
    # What a whole setup calls is found by recording one.
    ctx, _ = account.set_up(account.config(victim), keys)
    calls = list(account.calls)
    for resource in reversed(RESOURCES):
        for found in resource.find_all(ctx):
            resource.remove(ctx, found)
    assert account.state() == before
    yield Scene(account, victim, before, calls, standing.config, keys)
    after, outcome = account.set_up(standing.config, keys)
    assert not outcome.changed
    assert not outcome.drift
    assert after.config == standing.config


@pytest.mark.parametrize("how", ["refused", "lost", "interrupted"])
@pytest.mark.parametrize("part", range(PARTS))
def test_whichever_call_fails_nothing_is_left(scene: Scene, part: int, how: str, tmp_path: Path) -> None:
    indices = [i for i, call in enumerate(scene.calls) if how == "refused" or call.mutating][part::PARTS]
    assert indices
    for index in indices:
        _fails(scene, index, how, tmp_path / f"keys-{index}")
    # What one run leaves, the next ones do not remove: they undo only what they made.
    if scene.account.state() != scene.before:
        _name_the_culprit(scene, indices, how, tmp_path)


def _name_the_culprit(scene: Scene, indices: list[int], how: str, folder: Path) -> None:
    before = scene.account.state()
    for index in indices:
        _fails(scene, index, how, folder / f"again-{index}")
        assert scene.account.state() == before, f"call {index} {scene.calls[index]} {how}"
    pytest.fail(f"{how}: left behind by one of {indices}: {new(scene.before, before)} {gone(scene.before, before)}")


def _fails(scene: Scene, index: int, how: str, keys: Path) -> None:
    call, said, files = scene.calls[index], [], _File()
    ctx = scene.account.context(scene.account.config(scene.victim), keys)
    setup = Setup(ctx, RESOURCES, say=said.append, save=files.save, restore=files.restore)
    scene.account.calls.clear()
    with (
        scene.account.failing(index, how),
        pytest.raises(KeyboardInterrupt if how == "interrupted" else SetupFailed) as failure,
    ):
        setup.run()
    where = f"call {index} {call} {how}: {said}"
    assert scene.account.calls[index] == call, where
    if isinstance(failure.value, SetupFailed):
        reason = "AccessDenied" if how == "refused" else "Connection was closed"
        assert reason in str(failure.value), where
        assert failure.value.resource
        assert failure.value.resource in str(failure.value), where
    assert not keys.exists() or not list(keys.iterdir()), where
    assert files.restored == 1
    assert not [line for line in said if "could not" in line], where


class _File:
    """Stands for configure.ini."""

    def __init__(self) -> None:
        self.restored = 0

    def save(self, config: Config) -> None:
        assert config.name.startswith("victim-")

    def restore(self) -> None:
        self.restored += 1


def test_the_recorded_setup_is_a_whole_one(scene: Scene) -> None:
    mutating = {call.operation for call in scene.calls if call.mutating}
    assert len(scene.calls) > 80
    assert {
        "CreateQueue",
        "CreateBucket",
        "CreateTable",
        "CreateTopic",
        "CreateSecurityGroup",
        "ImportKeyPair",
        "CreateRole",
        "PutRolePolicy",
        "AddRoleToInstanceProfile",
        "RunInstances",
        "CreateImage",
        "CreateLaunchTemplate",
        "PutMetricAlarm",
        "PutDashboard",
    } <= mutating


@pytest.mark.parametrize("role", ["service", "client", "watchdog"])
def test_an_installation_that_fails_is_undone(scene: Scene, role: str, tmp_path: Path) -> None:
    class Failing(Installed):
        def install(self, target: Any, config: Config) -> None:
            super().install(target, config)
            if target.role == role:
                raise InstallFailed(f"{role} 198.51.100.7: installing {role}: apt-get failed: no space left")

    with pytest.raises(SetupFailed, match=f"program on .*{role}.*no space left") as failure:
        scene.account.set_up(scene.account.config(scene.victim), tmp_path, installer=Failing())
    assert role in failure.value.resource
    assert scene.account.state() == scene.before


def test_a_step_that_cannot_be_undone_does_not_stop_the_others(scene: Scene, tmp_path: Path) -> None:
    said: list[str] = []

    class Broken(Installed):
        def install(self, target: Any, config: Config) -> None:
            raise InstallFailed("no")

    ctx = scene.account.context(scene.account.config(scene.victim), tmp_path, installer=Broken())
    table = next(resource for resource in RESOURCES if resource.key == "table")
    stubborn = _Stubborn(table)
    resources = [stubborn if resource is table else resource for resource in RESOURCES]
    with pytest.raises(SetupFailed, match=r"no; what this run had made was removed; still there: table .*stuck"):
        Setup(ctx, resources, say=said.append, save=lambda c: None, restore=lambda: None).run()
    left = {k: v - scene.before[k] for k, v in scene.account.state().items() if v - scene.before[k]}
    assert set(left) == {"tables"}
    table.remove(ctx, ctx.get("table"))
    assert scene.account.state() == scene.before


class _Stubborn:
    """A resource that cannot be removed."""

    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resource, name)

    def remove(self, ctx: Context, found: Any) -> None:
        raise OSError("stuck")


Damage = Callable[[Account, Context], None]


@pytest.mark.parametrize("how", ["refused", "lost"])
def test_repairs_are_undone_too(account: Account, keys: Path, how: str) -> None:
    """A standing deployment with drift and a gap: whichever change fails, all is as it stood before."""
    ctx, _ = account.set_up(account.config(unique("drifted")), keys)
    _damage(account, ctx)
    # One whole repair, to learn its calls; then the damage again.
    _, outcome = account.set_up(ctx.config, keys)
    assert outcome.repaired
    calls = list(account.calls)
    _damage(account, ctx)
    before, looks = account.state(), _looks(account, ctx)
    for index in [i for i, call in enumerate(calls) if call.mutating]:
        with account.failing(index, how), pytest.raises(SetupFailed):
            account.set_up(ctx.config, keys)
        assert account.state() == before, (index, calls[index], how)
        assert _looks(account, ctx) == looks, (index, calls[index], how)


def _damage(account: Account, ctx: Context) -> None:
    ec2 = account.client("ec2")
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=ctx.id("security-group"), IpPermissions=[rule])
    account.client("s3").delete_bucket_lifecycle(Bucket=ctx.id("input"))
    account.client("sqs").set_queue_attributes(QueueUrl=ctx.id("tasks"), Attributes={"VisibilityTimeout": "7"})
    for name in [d["DashboardName"] for d in account.client("cloudwatch").list_dashboards()["DashboardEntries"]]:
        if name.startswith(f"{ctx.config.name}-"):
            account.client("cloudwatch").delete_dashboards(DashboardNames=[name])
    version = ec2.create_launch_template_version(
        LaunchTemplateId=ctx.id("launch-template"),
        SourceVersion="1",
        LaunchTemplateData={"InstanceType": "t3.nano"},
    )["LaunchTemplateVersion"]["VersionNumber"]
    ec2.modify_launch_template(LaunchTemplateId=ctx.id("launch-template"), DefaultVersion=str(version))


def _looks(account: Account, ctx: Context) -> Any:
    """How the drifted resources look."""
    ec2 = account.client("ec2")
    group = ec2.describe_security_groups(GroupIds=[ctx.id("security-group")])["SecurityGroups"][0]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=ctx.id("launch-template"))
    with pytest.raises(account.client("s3").exceptions.ClientError):
        account.client("s3").get_bucket_lifecycle_configuration(Bucket=ctx.id("input"))
    return (
        sorted((p["FromPort"], str(p["IpRanges"])) for p in group["IpPermissions"]),
        account.client("sqs").get_queue_attributes(QueueUrl=ctx.id("tasks"), AttributeNames=["VisibilityTimeout"])[
            "Attributes"
        ],
        [v["VersionNumber"] for v in versions["LaunchTemplateVersions"] if v["DefaultVersion"]],
    )
