"""Bytes of objects on disk: the same file as in memory, and gone with its object."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimoto.local.spill import SpilledFile

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(max_size=40)),
        st.tuples(st.just("read"), st.integers(-1, 60)),
        st.tuples(st.just("seek"), st.integers(0, 30)),
        st.tuples(st.just("truncate"), st.none()),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_behaves_as_a_file_in_memory(tmp_path: Path, steps: list[tuple[str, object]]) -> None:
    spilled, memory = SpilledFile(tmp_path, in_memory=16), io.BytesIO()
    for name, argument in steps:
        arguments = [] if argument is None else [argument]
        assert getattr(spilled, name)(*arguments) == getattr(memory, name)(*arguments)
    spilled.seek(0)
    assert spilled.read() == memory.getvalue()
    spilled.close()
    assert list(tmp_path.iterdir()) == []


def test_small_ones_make_no_file(tmp_path: Path) -> None:
    small = SpilledFile(tmp_path, in_memory=16)
    small.write(b"x" * 16)
    assert list(tmp_path.iterdir()) == []
    small.write(b"x")
    assert [p.stat().st_size for p in tmp_path.iterdir()] == [17]


def test_a_forgotten_one_takes_its_file_along(tmp_path: Path) -> None:
    SpilledFile(tmp_path, in_memory=0).write(b"x")
    assert list(tmp_path.iterdir()) == []
