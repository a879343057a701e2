"""One table: consistent reads, conditional writes that know their own, queries to the last page."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from minimoto.aws.calls import aws_call, code_of
from minimoto.aws.clients import client
from minimoto.aws.documents import text, text_of
from minimoto.aws.table import PARTITION, SORT
from minimoto.config import Config
from minimoto.errors import CloudError, ConfigError

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient

    from minimoto.aws.documents import Item

WRITE = "write"
"""The attribute that names the last write of an item."""

READ_BATCH = 100
READ_TRIES = 8


class Lost(Exception):
    """A condition was not met; ``item`` is what was found instead, ``None`` for nothing."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.item = item


class Items:
    """The items of a deployment's table."""

    def __init__(self, session: boto3.session.Session, config: Config) -> None:
        self._session, self._config = session, config

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return client(self._session, self._config, "dynamodb")

    @cached_property
    def _table(self) -> str:
        if not self._config.table:
            raise ConfigError(
                "[DYNAMODB] table is not set: run minimoto_setup.py first, or name its file with --config"
            )
        return self._config.table

    def get(self, key: tuple[str, str]) -> Item | None:
        """One item, read consistently."""
        with aws_call(self._what(key, "reading")):
            return self._dynamodb.get_item(TableName=self._table, Key=_key(key), ConsistentRead=True).get("Item")

    def put(self, key: tuple[str, str], item: Mapping[str, Any], condition: str = "", **named: Any) -> str:
        """Writes a whole item and returns the write's name.

        A write that was answered with an error may have happened all the same, and is then tried again by botocore:
        the name in the item tells our own write from another's.

        Parameters:
            condition: in DynamoDB's words, on attributes ``#x`` and values ``:x``.
            named: a value for each ``:x`` of the condition; ``#x`` stands for the attribute ``x``.

        Raises:
            Lost: the condition was not met.
        """
        write = uuid.uuid4().hex
        whole: Any = {**_key(key), **item, WRITE: text(write)}
        try:
            with aws_call(self._what(key, "writing")):
                try:
                    self._dynamodb.put_item(TableName=self._table, Item=whole, **_condition(condition, named))
                except self._dynamodb.exceptions.ClientError as error:
                    raise _lost(error) from error
        except Lost as lost:
            if lost.item is None or lost.item.get(WRITE) != text(write):
                raise
        return write

    def update(self, key: tuple[str, str], changes: Mapping[str, Any], condition: str, **named: Any) -> None:
        """Sets attributes where a condition holds; the condition must still hold after it, for it may be tried twice.

        Raises:
            Lost: the condition was not met.
        """
        arguments = _condition(condition, named)
        names, values = arguments["ExpressionAttributeNames"], arguments["ExpressionAttributeValues"]
        for name, value in changes.items():
            names[f"#{name}"], values[f":{name}_"] = name, value
        with aws_call(self._what(key, "writing")):
            try:
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key=_key(key),
                    UpdateExpression="SET " + ", ".join(f"#{name} = :{name}_" for name in changes),
                    **arguments,
                )
            except self._dynamodb.exceptions.ClientError as error:
                raise _lost(error) from error

    def delete(self, key: tuple[str, str], condition: str = "", **named: Any) -> None:
        """Deletes an item; one that is not there is no error. Raises :class:`Lost` as :meth:`put` does."""
        with aws_call(self._what(key, "deleting")):
            try:
                self._dynamodb.delete_item(TableName=self._table, Key=_key(key), **_condition(condition, named))
            except self._dynamodb.exceptions.ClientError as error:
                raise _lost(error) from error

    def below(self, partition: str, prefix: str = "") -> list[Item]:
        """Every item of a partition whose sort key begins with ``prefix``, in order, read consistently."""
        asked = "#p = :p AND begins_with(#s, :s)" if prefix else "#p = :p"
        names = {"#p": PARTITION} | ({"#s": SORT} if prefix else {})
        values = {":p": text(partition)} | ({":s": text(prefix)} if prefix else {})
        return list(
            self.query(
                KeyConditionExpression=asked,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
            )
        )

    def query(self, **arguments: Any) -> Iterator[Item]:
        """Items of a query, page after page as they are asked for."""
        pages = self._dynamodb.get_paginator("query").paginate(TableName=self._table, **arguments)
        with aws_call(f"table {self._table}: querying"):
            for page in pages:
                yield from page["Items"]

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Item]:
        """Those of the items that are there, in the order of the keys, each read consistently."""
        found: dict[tuple[str, str], Item] = {}
        for start in range(0, len(keys), READ_BATCH):
            for item in self._get_batch([_key(key) for key in keys[start : start + READ_BATCH]]):
                found[text_of(item, PARTITION), text_of(item, SORT)] = item
        return [found[key] for key in keys if key in found]

    def _get_batch(self, keys: list[Any]) -> Iterator[Item]:
        """DynamoDB leaves out what is over 16 MB, or over its rate for now."""
        for tried in range(READ_TRIES):
            with aws_call(f"table {self._table}: reading"):
                answer = self._dynamodb.batch_get_item(
                    RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}}
                )
            items = answer["Responses"].get(self._table, [])
            yield from items
            left = answer.get("UnprocessedKeys")
            if not left:
                return
            keys = list(left[self._table]["Keys"])
            if not items:
                time.sleep(0.05 * 2**tried)
        raise CloudError(f"table {self._table}: {len(keys)} items could not be read for now: too many requests")

    def _what(self, key: tuple[str, str], doing: str) -> str:
        return f"table {self._table}: {doing} {key[0]} {key[1]}"


def _key(key: tuple[str, str]) -> dict[str, Any]:
    return {PARTITION: text(key[0]), SORT: text(key[1])}


def _condition(condition: str, named: Mapping[str, Any]) -> dict[str, Any]:
    if not condition:
        return {}
    words = condition.replace("(", " ").replace(")", " ").replace(",", " ").split()
    arguments: dict[str, Any] = {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {word: word[1:] for word in words if word.startswith("#")},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if named:
        arguments["ExpressionAttributeValues"] = {f":{name}": value for name, value in named.items()}
    return arguments


def _lost(error: Any) -> Exception:
    """:class:`Lost` for a condition that was not met, any other error as it is."""
    if code_of(error) != "ConditionalCheckFailedException":
        return cast(Exception, error)
    return Lost(error.response.get("Item") or None)
