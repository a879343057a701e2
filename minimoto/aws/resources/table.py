"""The DynamoDB table of jobs, tasks and nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource, Setting
from minimoto.aws.table import EXPIRES, table_definition, time_to_live
from minimoto.config import Config


class Table(Resource):
    """On demand, with a time to live; restorable to a point in time if that is asked for."""

    key = role = "table"
    kind = "table"

    def find_all(self, ctx: Context) -> list[Found]:
        dynamodb = ctx.client("dynamodb")
        prefix = ctx.prefix("jobs")
        found = []
        for page in dynamodb.get_paginator("list_tables").paginate():
            for name in page["TableNames"]:
                if name.startswith(prefix):
                    tags = self._tags(ctx, name)
                    if ctx.owns(tags, self.role):
                        found.append(Found(name, name, tags))
        return found

    def make(self, ctx: Context) -> Found:
        dynamodb, name = ctx.client("dynamodb"), ctx.name("jobs")
        dynamodb.create_table(**table_definition(name), Tags=ctx.tag_list(self.role))
        ctx.wait("dynamodb", "table_exists", f"table {name}", TableName=name)
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=time_to_live())
        if ctx.point_in_time_recovery:
            self._recovery(ctx, name)("ENABLED")
        return Found(name, name, ctx.tags(self.role))

    def settings(self, ctx: Context, found: Found) -> list[Setting]:
        dynamodb, name = ctx.client("dynamodb"), found.name
        table = dynamodb.describe_table(TableName=name)["Table"]
        wanted: Any = table_definition(name)
        advice = "a table's layout cannot be changed: clean up and set up again"
        settings = [
            Setting("key", table["KeySchema"], wanted["KeySchema"], advice=advice),
            Setting("indexes", _indexes(table), _indexes(wanted), advice=advice),
            Setting(
                "billing",
                table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
                wanted["BillingMode"],
                advice="change it with: aws dynamodb update-table",
            ),
        ]
        ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]

        def expire(value: Any) -> None:
            specification = {"Enabled": value is not None, "AttributeName": value or EXPIRES}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)

        on = ttl.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}
        settings.append(Setting("time to live", ttl.get("AttributeName") if on else None, EXPIRES, expire))
        if ctx.point_in_time_recovery:
            backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
            status = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus", "DISABLED")
            settings.append(Setting("point-in-time recovery", status, "ENABLED", self._recovery(ctx, name)))
        return settings

    def remove(self, ctx: Context, found: Found) -> None:
        def delete() -> None:
            try:
                ctx.client("dynamodb").delete_table(TableName=found.name)
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise

        # A table that is still being made cannot be deleted yet.
        ctx.insist(f"table {found.name}", delete, while_=lambda error: code_of(error) == "ResourceInUseException")

    def record(self, ctx: Context, found: Found) -> Config:
        return replace(ctx.config, table=found.name)

    def _tags(self, ctx: Context, name: str) -> dict[str, str]:
        try:
            arn = ctx.arn("dynamodb", f"table/{name}")
            return tag_dict(ctx.client("dynamodb").list_tags_of_resource(ResourceArn=arn).get("Tags"))
        except ClientError as error:
            # Listed, but just deleted.
            if code_of(error) == "ResourceNotFoundException":
                return {}
            raise

    @staticmethod
    def _recovery(ctx: Context, name: str) -> Any:
        def write(value: Any) -> None:
            ctx.client("dynamodb").update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": value == "ENABLED"},
            )

        return write


def _indexes(table: Any) -> Any:
    return sorted((index["IndexName"], str(index["KeySchema"])) for index in table.get("GlobalSecondaryIndexes", []))
