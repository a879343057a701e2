"""Settings: defaults, the file, the environment, the command line, in that order of precedence."""

from __future__ import annotations

import stat
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from minimoto import config
from minimoto.config import Config
from minimoto.errors import ConfigError
from minimoto.settings_check import check, unknown

EXAMPLE = Path(__file__).parents[2] / "configure.ini.example"


def test_the_example_says_the_defaults_and_names_every_option() -> None:
    assert config.load(str(EXAMPLE), environ={}) == Config()
    text = EXAMPLE.read_text("utf-8")
    for setting in fields(Config):
        assert f"\n{setting.metadata['option']} =" in text
        assert setting.metadata["help"] in text


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "configure.ini"
    file.write_text("[FLEET]\nmax_nodes = 3\nmin_nodes = 2\n[SQS]\nvisible_time = 630\n")
    environ = {"MINIMOTO_CONFIG": str(file), "MINIMOTO_FLEET_MAX_NODES": "5"}
    loaded = config.load(environ=environ, min_nodes=4, name=None)
    assert (loaded.min_nodes, loaded.max_nodes, loaded.lease, loaded.name) == (4, 5, 630.0, "minimoto")


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "configure.ini"
    wanted = replace(Config(), name="a%b", more_buckets=("x-in", "y-in"), max_nodes=9, budget_per_day=1.5)
    config.save(wanted, file, {"client_user": "ubuntu"})
    assert config.load(str(file), environ={}) == wanted
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "client_user = ubuntu" in file.read_text("utf-8")
    assert [path.name for path in file.parent.iterdir()] == ["configure.ini"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[FLEET]\nmax_nodes = many\n", r"\[FLEET\] max_nodes: 'many' is not a number"),
        ("[FLEET]\nmax_nodes = -1\n", r"configure.ini \[FLEET\] max_nodes is -1: 0 or more is expected$"),
        ("[SQS]\nvisible_time = 0\n", r"visible_time is 0: more than 0 is expected$"),
        ("[SQS]\nvisible_time = 43201\n", r"visible_time is 43201: 43200 at most is expected$"),
        ("[FLEET]\ntarget_seconds = inf\n", r"target_seconds is inf: a number is expected$"),
        ("[FLEET]\nmarket = black\n", r"market is black: spot or on-demand is expected$"),
        ("[FLEET]\nkeep_failed = perhaps\n", r"keep_failed: 'perhaps' is neither on nor off$"),
        ("max_nodes = 3\n", r"configure.ini: line 1: a section such as \[FLEET\] is expected before 'max_nodes = 3'$"),
        ("[FLEET]\nmax_nodes = 3\nmax_nodes = 4\n", r"line 3: \[FLEET\] max_nodes stands there twice$"),
        ("[FLEET]\n[SQS]\n[FLEET]\n", r"line 3: section \[FLEET\] stands there twice$"),
        ("\x00\xff", r"configure.ini: this is no text in UTF-8$"),
    ],
)
def test_a_bad_file_gets_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "configure.ini"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=says) as error:
        config.load(str(file), environ={})
    assert "\n" not in str(error.value)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"minimoto_setup\.py"):
        config.load(str(tmp_path / "none.ini"), environ={})
    assert config.load(str(tmp_path / "none.ini"), environ={}, required=False) == Config()


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    (tmp_path / "configure.ini").mkdir()
    with pytest.raises(ConfigError, match=r"configure.ini: Is a directory$"):
        config.load(str(tmp_path / "configure.ini"), environ={})


def test_a_wrong_variable_is_named_as_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^the variable MINIMOTO_FLEET_MAX_NODES: 'x' is not a number$"):
        config.load(str(tmp_path / "none.ini"), environ={"MINIMOTO_FLEET_MAX_NODES": "x"}, required=False)


def test_what_setup_writes_is_all_known(tmp_path: Path) -> None:
    file = tmp_path / "configure.ini"
    config.save(Config(), file, {"client_user": "ubuntu"})
    assert unknown(file, {"MINIMOTO_CONFIG": str(file), "MINIMOTO_FLEET_MAX_NODES": "3"}) == []
    assert unknown(EXAMPLE, {}) == []
    check(Config(), file, 0.0, {})


def test_what_no_setting_is_called_is_named_with_what_may_be_meant(tmp_path: Path) -> None:
    file = tmp_path / "configure.ini"
    file.write_text("[FLEET]\nmin_node = 1\nfence_after = 3\nzebra = 1\n[CLEINT]\nuploads = 3\n")
    assert unknown(file, {"MINIMOTO_FLEET_MAXNODES": "3"}) == [
        f"{file} [CLEINT]: there is no such section; is CLIENT meant?",
        f"{file} [FLEET] min_node: there is no such setting; is min_nodes meant?",
        f"{file} [FLEET] fence_after: there is no such setting; it belongs to [SERVICE]",
        f"{file} [FLEET] zebra: there is no such setting",
        "the variable MINIMOTO_FLEET_MAXNODES: no setting is called so; is MINIMOTO_FLEET_MAX_NODES meant?",
    ]
    assert config.load(str(file), environ={}) == Config(), "a machine may have settings of a newer minimoto"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"policy": "?"}, "there are: asg, classic, target"),
        ({"min_nodes": 9}, "min_nodes is 9 and max_nodes 8"),
        ({"warm": ("8-18 3",)}, r"\[FLEET\] warm"),
        ({"time_zone": "Mars"}, "time_zone is 'Mars'"),
        ({"metrics": "here"}, r"\[FLEET\] metrics"),
        ({"heartbeat": 60.0, "lease": 60.0}, "a lease must outlast the heartbeats"),
    ],
)
def test_settings_that_only_a_machine_would_stumble_over(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check(replace(Config(), **wrong), tmp_path / "none.ini", 0.0, {})
