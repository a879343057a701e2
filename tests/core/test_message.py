"""Messages: ours, the older text form, and everything that somebody else may have put into the queue."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimoto.core.message import FolderRequest, decode, encode
from minimoto.core.task import TaskKey
from minimoto.errors import InvalidMessage


def test_round_trip() -> None:
    key = TaskKey("trip-1", 2, 13)
    assert decode(encode(key)) == key
    assert encode(key) == '{"v":1,"job":"trip-1","stage":2,"task":13}'


def test_the_older_text_form() -> None:
    text = "transform?bucket_input_name=my-in:bucket_output_name=my-out:folder_name=trip_42"
    assert decode(text) == FolderRequest("my-in", "my-out", "trip_42")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 3000,
        '{"v":2,"job":"a","stage":0,"task":0}',
        '{"v":true,"job":"a","stage":0,"task":0}',
        '{"v":1,"job":"../a","stage":0,"task":0}',
        '{"v":1,"job":"a","stage":-1,"task":0}',
        '{"v":1,"job":"a","stage":0,"task":true}',
        '{"v":1,"job":"a","stage":0,"task":1e3}',
        '{"v":1,"job":"a","stage":0,"task":100000}',
        "x" * 5000,
        "transform?bucket_input_name=a:bucket_output_name=b",
        "transform?bucket_input_name=in1:bucket_output_name=out:folder_name=../x",
        "transform?bucket_input_name=IN/..:bucket_output_name=out:folder_name=x",
        "transform?bucket_input_name=in1:bucket_output_name=out:folder_name=x/y",
    ],
)
def test_what_no_worker_may_act_on_is_refused(body: str) -> None:
    with pytest.raises(InvalidMessage):
        decode(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["v", "job", "stage", "task"]), inner),
    max_leaves=8,
)


@given(st.text(max_size=200) | json_values.map(json.dumps))
def test_any_body_is_understood_or_refused(body: str) -> None:
    try:
        told = decode(body)
    except InvalidMessage:
        return
    assert isinstance(told, TaskKey | FolderRequest)
