"""``minimoto simulate`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimoto.cli.entry import main


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A small load."""
    file = tmp_path / "mine.csv"
    file.write_text("at,tasks,seconds\n0,4,30\n600,2,60\n700,1,20\n", "utf-8")
    return file


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["simulate", *arguments])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_every_rule_side_by_side(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--trace", str(trace), "--rules", "all", "--min-nodes", "0")
    assert status == 0
    assert out.startswith("mine.csv: 3 jobs, 7 tasks, 0.1 hours of work; to be done within 300 s")
    for rule in ("target", "classic", "keda", "tracking", "buildkite", "runners", "cellprofiler", "skypilot"):
        assert f"\n{rule} " in out


def test_as_json(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, "--trace", str(trace), "--min-nodes", "0", "--target", "900", "--json", "--bound")
    document = json.loads(out)
    target = document["rules"]["target"]
    assert (document["jobs"], document["tasks"], document["target_seconds"]) == (3, 7, 900.0)
    assert (target["late"], target["killed"], target["flaps"]) == (0, 0, 0)
    assert 0 < document["clairvoyant"]["least"] <= target["cost"]


def test_settings_are_proposed(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--trace", str(trace), "--tune", "--cooldown", "600", "--target", "900")
    assert status == 0
    assert "\nproposed " in out
    assert "[FLEET]\nmin_nodes = 0\n" in out


@pytest.mark.parametrize("kind", ["png", "html"])
def test_a_chart_is_drawn(kind: str, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    chart = tmp_path / f"day.{kind}"
    status, _, _ = told(capsys, "--trace", str(trace), "--rules", "target,keda", "--chart", str(chart))
    assert status == 0
    if kind == "png":
        from PIL import Image

        with Image.open(chart) as picture:
            assert picture.size[0] > 800
            assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 10
    else:
        page = chart.read_text("utf-8")
        assert page.startswith("<!doctype html>")
        assert "<svg" in page
        assert "<td>keda</td>" in page
        assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
            "http://creativecommons.org", ""
        )


def test_the_loads_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--workload", "list")
    assert status == 0
    for name in ("small", "medium", "large", "xlarge", "mix", "bursts", "daily", "giant", "trickle", "drought"):
        assert f"\n{name} " in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workload", "mixx"], "--workload mixx: there are small"),
        (["--rules", "keda,kda"], "--rules kda: there are target"),
        (["--chart", "a.gif"], "--chart a.gif: a name that ends in .png or .html"),
        (["--slots", "0"], "--slots 0"),
        (["--min-nodes", "9", "--max-nodes", "3"], "min_nodes is 9 and max_nodes 3"),
        (["--target", "-5"], "target_seconds is -5.0"),
        (["--config", "nowhere.ini"], "nowhere.ini: no such file"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], says: str, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if arguments[0] == "--workload" else ["--trace", str(trace), *arguments]
    status, _, err = told(capsys, *given)
    assert status != 0
    assert says in err
    assert err.count("\n") == 1


def test_a_trace_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("bytes.csv", "nowhere.csv"):
        status, _, err = told(capsys, "--trace", str(tmp_path / name))
        assert status != 0
        assert name in err
        assert err.count("\n") == 1
