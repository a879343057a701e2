"""The top-level scripts as a user starts them: from nothing to a film, and back to nothing."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from laptop import Laptop
from PIL import Image

PIPELINE = 'fit:160x96,mode=inside | video:size=160x96,fps=10,seconds=1,transition_seconds=0.3,title="A trip"'

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("whole")]


def photos(folder: Path) -> Path:
    folder.mkdir()
    for index, colour in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]):
        Image.new("RGB", (320, 240), colour).save(folder / f"photo {index}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "photo 0.jpg").read_bytes()[:400])
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def test_from_nothing_to_a_film_and_back(laptop: Laptop) -> None:
    said = laptop.run("minimoto_setup.py", "--yes")
    lines = said.splitlines()
    mandatory = lines[lines.index("minimoto_setup: mandatory output messages follow") + 1 :]
    names = ["S3_BUCKET_INPUT", "S3_BUCKET_OUTPUT", "CLIENT_USER", "CLIENT_ADDR"]
    names += ["WATCHDOG_USER", "WATCHDOG_ADDR", "SERVICE_USER", "SERVICE_AMI"]
    assert [line.partition("=")[0] for line in mandatory] == names
    assert all(line.partition("=")[2] for line in mandatory)
    assert stat.S_IMODE(laptop.file.stat().st_mode) == 0o600
    laptop.run("minimoto_setup.py", "--yes")
    assert "nothing to do" in laptop.errors

    folder = photos(laptop.home / "trip")
    told = laptop.run("minimoto_client.py", str(folder), "--pipeline", PIPELINE, "--wait", "--out", "films")
    assert re.search(r"^You'll find the output in s3://\S+/trip\.mp4$", told, re.MULTILINE)
    film = laptop.home / "films" / "trip.mp4"
    assert film.read_bytes()[4:8] == b"ftyp"
    assert told.splitlines()[-1] == "films/trip.mp4"
    assert "broken.jpg" in laptop.errors
    assert "broken.jpg" in laptop.run("status", "trip") + laptop.errors
    history = laptop.run("history", "trip")
    for what in ("created", "ready", "claimed", "stage_finished", "successful"):
        assert what.replace("_", " ") in history.replace("_", " ")

    status = laptop.run("minimoto_watchdog.py", "--status")
    machine = r"instance: i-[0-9a-f]+ (running|stopped) (\d+%|-)\n"
    assert re.fullmatch(rf"({machine})+average utilisation: (\d+%|-)\nqueue length: 0\n", status)
    assert re.search(
        r"minimoto_setup\.py --yes -> ok", "".join(f.read_text() for f in laptop.home.rglob("minimoto.log"))
    )

    laptop.run("minimoto_cleanup.py", status=2)
    assert "--yes" in laptop.errors
    assert "deleted" in laptop.run("minimoto_cleanup.py", "--yes")
    assert "nothing" in laptop.run("minimoto_cleanup.py", "--yes").lower() + laptop.errors.lower()
