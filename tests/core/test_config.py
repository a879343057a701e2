"""Settings: defaults, the file, the environment, the command line, in that order of precedence."""

from __future__ import annotations

import stat
from dataclasses import fields, replace
from pathlib import Path

import pytest

from minimoto import config
from minimoto.config import Config
from minimoto.errors import ConfigError

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
        ("max_nodes = 3\n", "no section headers"),
        ("[FLEET]\nmax_nodes = 3\nmax_nodes = 4\n", "already exists"),
        ("\x00\xff", "configure.ini"),
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
