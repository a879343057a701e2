"""The security group of all machines: SSH from the operator, and nothing else in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.policies import DEPLOYMENT_TAG
from minimoto.aws.resources.context import Context, checked_range, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.config import Config
from minimoto.errors import NotFound

SSH = 22
Rule = tuple[str, int, int, str]
"""Protocol, first port, last port, and where it lets in from."""


class SecurityGroup(Resource):
    """In the region's default VPC."""

    key = role = "security-group"
    kind = "security group"

    def find_all(self, ctx: Context) -> list[Found]:
        pages = ctx.client("ec2").get_paginator("describe_security_groups").paginate(Filters=ctx.tag_filters(self.role))
        groups = [group for page in pages for group in page["SecurityGroups"]]
        return [Found(g["GroupId"], g["GroupName"], tag_dict(g.get("Tags")), g) for g in groups]

    def make(self, ctx: Context) -> Found:
        ec2, name = ctx.client("ec2"), ctx.name("machines")
        group = ec2.create_security_group(
            GroupName=name,
            Description=f"minimoto {ctx.config.name}: SSH from the operator only",
            VpcId=default_network(ec2, ctx.config.region),
            TagSpecifications=[{"ResourceType": "security-group", "Tags": ctx.tag_list(self.role, Name=name)}],
        )["GroupId"]
        ctx.wait("ec2", "security_group_exists", f"security group {name}", GroupIds=[group])
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=_permissions(_wanted(ctx)))
        return Found(group, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        current = _rules(found.details.get("IpPermissions", []))

        def write(value: Any) -> None:
            ec2 = ctx.client("ec2")
            now = _rules(ec2.describe_security_groups(GroupIds=[found.id])["SecurityGroups"][0]["IpPermissions"])
            # First let in, then shut out: an operator at work is not cut off in between.
            if set(value) - set(now):
                ec2.authorize_security_group_ingress(
                    GroupId=found.id, IpPermissions=_permissions(set(value) - set(now))
                )
            if set(now) - set(value):
                ec2.revoke_security_group_ingress(GroupId=found.id, IpPermissions=_permissions(set(now) - set(value)))

        return [Setting("way in", current, _wanted(ctx), write)]

    def remove(self, ctx: Context, found: Found) -> None:
        ec2 = ctx.client("ec2")
        self._await_machines(ctx, found.id)

        def delete() -> None:
            try:
                ec2.delete_security_group(GroupId=found.id)
            except ClientError as error:
                if code_of(error) != "InvalidGroup.NotFound":
                    raise

        # A terminated machine's network interface lingers for some seconds.
        ctx.insist(found.name, delete, while_=lambda error: code_of(error) == "DependencyViolation")

    def record(self, ctx: Context, found: Found) -> Config:
        return replace(ctx.config, sg_name=found.name, security_group_id=found.id)

    @staticmethod
    def _await_machines(ctx: Context, group: str) -> None:
        """Waits for the deployment's machines that are on their way out."""
        filters = [
            {"Name": "instance.group-id", "Values": [group]},
            {"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [ctx.config.name]},
            {"Name": "instance-state-name", "Values": ["shutting-down"]},
        ]
        pages = ctx.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
        ids = [i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
        if ids:
            ctx.wait("ec2", "instance_terminated", f"machines {', '.join(ids)}", InstanceIds=ids)


def default_network(ec2: Any, region: str) -> str:
    """Id of the region's default VPC; raises ``NotFound``."""
    networks = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not networks:
        raise NotFound(f"region {region} has no default VPC: aws ec2 create-default-vpc --region {region}")
    return str(networks[0]["VpcId"])


def _wanted(ctx: Context) -> list[Rule]:
    source = ctx.config.ssh_from
    where = checked_range(source, "ssh_from") if source else checked_range(ctx.operator_address(), "this address")
    return [("tcp", SSH, SSH, where)]


def _rules(permissions: Iterable[Any]) -> list[Rule]:
    rules = []
    for p in permissions:
        sources = [r["CidrIp"] for r in p.get("IpRanges", [])] + [r["CidrIpv6"] for r in p.get("Ipv6Ranges", [])]
        sources += [r["GroupId"] for r in p.get("UserIdGroupPairs", [])]
        sources += [r["PrefixListId"] for r in p.get("PrefixListIds", [])]
        rules += [(p["IpProtocol"], p.get("FromPort", -1), p.get("ToPort", -1), source) for source in sources]
    return sorted(rules)


def _permissions(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    permissions = []
    for protocol, first, last, source in sorted(rules):
        if source.startswith("sg-"):
            where: dict[str, Any] = {"UserIdGroupPairs": [{"GroupId": source}]}
        elif source.startswith("pl-"):
            where = {"PrefixListIds": [{"PrefixListId": source}]}
        elif ":" in source:
            where = {"Ipv6Ranges": [{"CidrIpv6": source}]}
        else:
            where = {"IpRanges": [{"CidrIp": source}]}
        ports = {} if protocol == "-1" else {"FromPort": first, "ToPort": last}
        permissions.append({"IpProtocol": protocol, **ports, **where})
    return permissions
