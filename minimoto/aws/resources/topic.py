"""The SNS topic where the ends of jobs, and alarms, are announced."""

from __future__ import annotations

from dataclasses import replace

from botocore.exceptions import ClientError

from minimoto.aws.calls import code_of
from minimoto.aws.resources.context import Context, tag_dict
from minimoto.aws.resources.resource import Found, Resource
from minimoto.config import Config


class Topic(Resource):
    """Subscribe to it, and you hear when a film is ready or something is wrong."""

    key = role = "topic"
    kind = "topic"

    def find_all(self, ctx: Context) -> list[Found]:
        sns = ctx.client("sns")
        found = []
        for page in sns.get_paginator("list_topics").paginate():
            for arn in (topic["TopicArn"] for topic in page["Topics"]):
                name = arn.rsplit(":", 1)[-1]
                if name.startswith(ctx.prefix("events")):
                    tags = self._tags(ctx, arn)
                    if ctx.owns(tags, self.role):
                        found.append(Found(arn, name, tags))
        return found

    def make(self, ctx: Context) -> Found:
        name = ctx.name("events")
        arn = ctx.client("sns").create_topic(Name=name, Tags=ctx.tag_list(self.role))["TopicArn"]
        return Found(arn, name, ctx.tags(self.role))

    def remove(self, ctx: Context, found: Found) -> None:
        # Deleting a topic that is gone is no error in SNS.
        ctx.client("sns").delete_topic(TopicArn=found.id)

    def record(self, ctx: Context, found: Found) -> Config:
        return replace(ctx.config, topic_arn=found.id)

    @staticmethod
    def _tags(ctx: Context, arn: str) -> dict[str, str]:
        try:
            return tag_dict(ctx.client("sns").list_tags_for_resource(ResourceArn=arn).get("Tags"))
        except ClientError as error:
            if code_of(error) in {"ResourceNotFound", "NotFound"}:
                return {}
            raise
