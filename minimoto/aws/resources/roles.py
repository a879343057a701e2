"""IAM: a role for each kind of machine, what it may do, and the instance profile that carries it."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.policies import role_name, role_policy, trust_policy
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting

POLICY_NAME = "minimoto"
GONE = "NoSuchEntity"


class MachineRole(Resource):
    """The IAM role of the machines of one kind; what it may do is :class:`Permissions`."""

    def __init__(self, machine: str) -> None:
        self.key, self.role, self.kind = f"{machine}-role", machine, f"{machine} role"
        self._machine = machine

    def find_all(self, ctx: Context) -> list[Found]:
        name = role_name(self._machine, ctx.config)
        try:
            role = ctx.client("iam").get_role(RoleName=name)["Role"]
        except ClientError as error:
            if code_of(error) == GONE:
                return []
            raise
        tags = tag_dict(role.get("Tags"))
        return [Found(name, name, tags, role)] if ctx.owns(tags, self.role) else []

    def make(self, ctx: Context) -> Found:
        name = role_name(self._machine, ctx.config)
        ctx.client("iam").create_role(
            RoleName=name,
            AssumeRolePolicyDocument=json.dumps(trust_policy(ctx.partition)),
            Description=f"minimoto {ctx.config.name}: {self._machine}",
            Tags=ctx.tag_list(self.role),
        )
        return Found(name, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        def write(value: Any) -> None:
            ctx.client("iam").update_assume_role_policy(RoleName=found.name, PolicyDocument=json.dumps(value))

        current = found.details.get("AssumeRolePolicyDocument")
        return [Setting("trust policy", current, trust_policy(ctx.partition), write)]

    def remove(self, ctx: Context, found: Found) -> None:
        iam, name = ctx.client("iam"), found.name
        try:
            try:
                iam.delete_role(RoleName=name)
            except ClientError as error:
                if code_of(error) != "DeleteConflict":
                    raise
                _strip(iam, name)
                iam.delete_role(RoleName=name)
        except ClientError as error:
            if code_of(error) != GONE:
                raise


def _strip(iam: Any, role: str) -> None:
    """Takes everything from a role that keeps it from being deleted."""
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for policy in page["PolicyNames"]:
            iam.delete_role_policy(RoleName=role, PolicyName=policy)
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for policy in page["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
    for page in iam.get_paginator("list_instance_profiles_for_role").paginate(RoleName=role):
        for profile in page["InstanceProfiles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=role)


class Permissions(Resource):
    """What a role may do: its one inline policy. It goes with the role when that is removed."""

    def __init__(self, machine: str) -> None:
        self.key, self.role, self.kind = f"{machine}-permissions", machine, f"permissions of the {machine}"
        self._machine, self._role = machine, f"{machine}-role"

    def find_all(self, ctx: Context) -> list[Found]:
        if self._role not in ctx.found:
            return []
        role = ctx.get(self._role)
        try:
            policy = ctx.client("iam").get_role_policy(RoleName=role.name, PolicyName=POLICY_NAME)
        except ClientError as error:
            if code_of(error) == GONE:
                return []
            raise
        return [Found(role.id, f"({role.name})", role.tags, {"Document": policy["PolicyDocument"]})]

    def make(self, ctx: Context) -> Found:
        role = ctx.get(self._role)
        self._write(ctx, role.name, self._wanted(ctx))
        return Found(role.id, f"({role.name})")

    def find_made(self, ctx: Context) -> list[Found]:
        # It carries no tags: the journal asks only where this run found none before.
        return self.find_all(ctx)

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        def write(value: Any) -> None:
            self._write(ctx, found.id, value)

        return [Setting("policy", found.details.get("Document"), self._wanted(ctx), write)]

    def remove(self, ctx: Context, found: Found) -> None:
        try:
            ctx.client("iam").delete_role_policy(RoleName=found.id, PolicyName=POLICY_NAME)
        except ClientError as error:
            if code_of(error) != GONE:
                raise

    def _wanted(self, ctx: Context) -> Any:
        # Through JSON, as IAM gives it back.
        return json.loads(json.dumps(role_policy(self._machine, ctx.config, ctx.account, ctx.partition)))

    @staticmethod
    def _write(ctx: Context, role: str, document: Any) -> None:
        ctx.client("iam").put_role_policy(
            RoleName=role, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(document, separators=(",", ":"))
        )


class MachineProfile(Resource):
    """The instance profile through which the machines of one kind get their role."""

    def __init__(self, machine: str) -> None:
        self.key, self.role, self.kind = f"{machine}-profile", machine, f"{machine} instance profile"
        self._machine = machine

    def find_all(self, ctx: Context) -> list[Found]:
        iam, name = ctx.client("iam"), role_name(self._machine, ctx.config)
        try:
            profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        except ClientError as error:
            if code_of(error) == GONE:
                return []
            raise
        tags = tag_dict(profile.get("Tags"))
        return [Found(name, name, tags, profile)] if ctx.owns(tags, self.role) else []

    def make(self, ctx: Context) -> Found:
        iam, name = ctx.client("iam"), role_name(self._machine, ctx.config)
        iam.create_instance_profile(InstanceProfileName=name, Tags=ctx.tag_list(self.role))
        ctx.wait("iam", "instance_profile_exists", f"instance profile {name}", InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=ctx.id(f"{self._machine}-role"))
        return Found(name, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        def write(value: Any) -> None:
            iam = ctx.client("iam")
            profile = iam.get_instance_profile(InstanceProfileName=found.name)["InstanceProfile"]
            for role in profile["Roles"]:
                iam.remove_role_from_instance_profile(InstanceProfileName=found.name, RoleName=role["RoleName"])
            if value is not None:
                iam.add_role_to_instance_profile(InstanceProfileName=found.name, RoleName=value)

        roles = [role["RoleName"] for role in found.details.get("Roles", [])]
        return [Setting("role", roles[0] if roles else None, ctx.id(f"{self._machine}-role"), write)]

    def remove(self, ctx: Context, found: Found) -> None:
        iam = ctx.client("iam")
        try:
            profile = iam.get_instance_profile(InstanceProfileName=found.name)["InstanceProfile"]
            for role in profile["Roles"]:
                iam.remove_role_from_instance_profile(InstanceProfileName=found.name, RoleName=role["RoleName"])
            iam.delete_instance_profile(InstanceProfileName=found.name)
        except ClientError as error:
            if code_of(error) != GONE:
                raise
