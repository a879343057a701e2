"""The one table of a deployment: what lies where.

    pk             sk                       what
    JOB#<id>       JOB                      the job document; once it has ended, until it expires
    JOB#<id>       TASK#<stage>#<task>      a task with its history: a claim is one write; until it expires
    NODE           <node>#<slot>            the last heartbeat of a slot
    DRAIN          <node>                   a drain request
    LEDGER         PASS                     the lease that guards a pass of the watchdog
    LEDGER         NOTE#<name>              what the watchdog remembers
    DECISIONS      <time>#<nonce>           a decision of the watchdog, until it expires

Index ``live`` holds the jobs that have not ended or are not closed (only those carry its key), index ``newest`` all
jobs by their time. Neither holds the documents, so saving a job does not write to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

PARTITION, SORT = "pk", "sk"
EXPIRES = "expires"
"""The attribute (seconds since the epoch) after which DynamoDB deletes an item."""

LIVE_INDEX, LIVE_KEY = "live", "live"
NEWEST_INDEX, NEWEST_KEY = "newest", "newest"
CREATED, OWNER = "created", "owner"


def table_definition(name: str) -> CreateTableInputTypeDef:
    """The arguments of ``create_table`` that fix what lies where; tags and protection are for the caller to add."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": _key(PARTITION, SORT),
        "AttributeDefinitions": [
            {"AttributeName": PARTITION, "AttributeType": "S"},
            {"AttributeName": SORT, "AttributeType": "S"},
            {"AttributeName": LIVE_KEY, "AttributeType": "S"},
            {"AttributeName": NEWEST_KEY, "AttributeType": "S"},
            {"AttributeName": CREATED, "AttributeType": "N"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": LIVE_INDEX,
                "KeySchema": _key(LIVE_KEY, CREATED),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
            {
                "IndexName": NEWEST_INDEX,
                "KeySchema": _key(NEWEST_KEY, CREATED),
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": [OWNER]},
            },
        ],
    }


def time_to_live() -> Any:
    """The ``TimeToLiveSpecification`` of ``update_time_to_live``."""
    return {"Enabled": True, "AttributeName": EXPIRES}


def _key(partition: str, sort: str) -> Any:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
