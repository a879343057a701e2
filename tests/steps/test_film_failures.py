"""When music, ffmpeg or the disk fails: one sentence, no process and no file left behind."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import film_probe as probe
import numpy as np
import odd_pictures as odd
import psutil
import pytest

from minimoto.engines.film_encoder import uses_nvenc
from minimoto.errors import StepFailed
from minimoto.media import ffmpeg_path
from minimoto.steps import STEPS
from minimoto.steps.base import Context, Progress

VIDEO = STEPS["video"]
SMALL = {"size": "160x90", "fps": "10", "seconds": "2", "encoder": "x264"}


def children() -> list[psutil.Process]:
    """Processes of ours that other tests of this process did not leave to be waited for."""
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def film(tmp_path: Path, attachments: dict[str, Path] | None = None, photos: int = 2, **params: str) -> Path:
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    made = [odd.grain(tmp_path / f"{n}.jpg", (160, 90)) for n in range(photos)]
    context = Context(tuple(made), attachments or {}, out, "trip", lambda progress: None)
    return VIDEO.run(context, VIDEO.parse(SMALL | params)).outputs[0]


def failure(tmp_path: Path, attachments: dict[str, Path] | None = None, photos: int = 2, **params: str) -> StepFailed:
    with pytest.raises(StepFailed) as failed:
        film(tmp_path, attachments, photos, **params)
    assert list((tmp_path / "out").iterdir()) == []
    assert children() == []
    assert "\n" not in str(failed.value)
    return failed.value


def tone(path: Path, seconds: float) -> Path:
    source = f"sine=frequency=440:duration={seconds}"
    subprocess.run([ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", source, str(path)], check=True)
    return path


def loudness(samples: np.ndarray, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(samples[round(start * 48000) : round(end * 48000)] ** 2)))


@pytest.mark.parametrize("seconds", [1.2, 30])
@pytest.mark.parametrize("kind", ["mp3", "wav", "m4a"])
def test_music_is_looped_or_trimmed_and_faded(tmp_path: Path, kind: str, seconds: float) -> None:
    song = tone(tmp_path / f"song.{kind}", seconds)
    made = film(tmp_path, {song.name: song}, photos=4, music=song.name)
    frames = probe.frames(made, (160, 90))
    samples = probe.sound(made)
    assert len(samples) / 48000 == pytest.approx(len(frames) / 10, abs=0.05)
    middle = loudness(samples, 2.0, 2.9)
    assert middle > 0.03
    assert loudness(samples, 0, 0.05) < middle / 4
    assert loudness(samples, len(frames) / 10 - 0.1, len(frames) / 10) < middle / 4
    assert "aac (LC)" in probe.about(made)
    names = probe.boxes(made)
    assert names.index("moov") < names.index("mdat")
    silent = film(tmp_path, photos=4)
    np.testing.assert_array_equal(frames, probe.frames(silent, (160, 90)))


def test_the_same_music_gives_the_same_bytes(tmp_path: Path) -> None:
    song = tone(tmp_path / "song.mp3", 1)
    first = film(tmp_path, {"song.mp3": song}, music="song.mp3").read_bytes()
    assert film(tmp_path, {"song.mp3": song}, music="song.mp3").read_bytes() == first


def test_broken_music_fails_for_good(tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    song.write_text("la la la")
    failed = failure(tmp_path, {"song.mp3": song}, music="song.mp3")
    assert str(failed).startswith("the music song.mp3 cannot be used: ")
    assert not failed.retry


def test_music_may_not_be_a_playlist_that_names_other_files(tmp_path: Path) -> None:
    tone(tmp_path / "secret.wav", 1)
    for name, words in {
        "a.m3u8": f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.wav\n",
        "b.txt": "ffconcat version 1.0\nfile secret.wav\n",
    }.items():
        (tmp_path / name).write_text(words)
        assert not failure(tmp_path, {name: tmp_path / name}, music=name).retry


def test_a_picture_is_no_music(tmp_path: Path) -> None:
    picture = odd.portrait(tmp_path)
    assert not failure(tmp_path, {"portrait.jpg": picture}, music="portrait.jpg").retry


def test_missing_music_fails_for_good(tmp_path: Path) -> None:
    failed = failure(tmp_path, music="song.mp3")
    assert (str(failed), failed.retry) == ("the music song.mp3 is not among the job's files", False)


def ffmpeg_that(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("MINIMOTO_FFMPEG", str(path))


def test_an_ffmpeg_that_dies_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(
        tmp_path, "head -c 30000 >/dev/null; echo 'first' >&2; echo 'encoder exploded' >&2; exit 1", monkeypatch
    )
    failed = failure(tmp_path)
    assert (str(failed), failed.retry) == ("the film could not be encoded: encoder exploded", True)


def test_an_ffmpeg_that_is_killed_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, "head -c 30000 >/dev/null; kill -9 $$", monkeypatch)
    failed = failure(tmp_path)
    assert "status -9" in str(failed)
    assert failed.retry


def test_a_full_disk_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shlex.quote(ffmpeg_path())
    ffmpeg_that(tmp_path, f"trap '' XFSZ; ulimit -f 16; exec {real} \"$@\"", monkeypatch)
    failed = failure(tmp_path, photos=6, quality="5")
    assert "File too large" in str(failed)
    assert failed.retry


def test_an_ffmpeg_that_fails_at_the_end_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, "cat >/dev/null; echo 'No space left on device' >&2; exit 1", monkeypatch)
    failed = failure(tmp_path)
    assert (str(failed), failed.retry) == ("the film could not be encoded: No space left on device", True)


def test_a_photo_that_vanishes_ends_the_film_cleanly(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    photos = (odd.portrait(tmp_path), tmp_path / "gone.jpg")
    with pytest.raises(StepFailed, match="No such file") as failed:
        VIDEO.run(Context(photos, {}, out, "trip", lambda progress: None), VIDEO.parse(SMALL))
    assert failed.value.retry
    assert list(out.iterdir()) == []
    assert children() == []


def test_a_report_that_raises_stops_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    def cancelled(progress: object) -> None:
        raise KeyboardInterrupt

    context = Context((odd.portrait(tmp_path),), {}, tmp_path / "out", "trip", cancelled)
    with pytest.raises(KeyboardInterrupt):
        VIDEO.run(context, VIDEO.parse(SMALL))
    assert list((tmp_path / "out").iterdir()) == []
    assert children() == []


def test_nvenc_is_only_used_where_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, "echo 'Cannot load libcuda.so.1' >&2; exit 1", monkeypatch)
    assert not uses_nvenc("auto", (320, 180))
    assert not uses_nvenc("x264", (320, 180))
    with pytest.raises(StepFailed, match=r"NVENC on this node: Cannot load libcuda\.so\.1") as failed:
        uses_nvenc("nvenc", (320, 180))
    assert failed.value.retry
    (tmp_path / "two").mkdir()
    ffmpeg_that(tmp_path / "two", "exit 0", monkeypatch)
    assert uses_nvenc("auto", (320, 180))


def test_each_photo_that_is_left_out_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    seen: list[Progress] = []
    photos = (odd.text(tmp_path), odd.truncated(tmp_path), odd.portrait(tmp_path))
    VIDEO.run(Context(photos, {}, tmp_path / "out", "trip", seen.append), VIDEO.parse(SMALL))
    assert [progress.note for progress in seen[:2]] == ["left out notes.jpg", "left out truncated.jpg"]
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)


def test_music_that_is_never_read_to_its_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg_that(tmp_path, "exec sleep 600", monkeypatch)
    monkeypatch.setattr("minimoto.engines.film_encoder._PATIENCE", 0.2)
    song = tmp_path / "song.mp3"
    song.write_text("la la la")
    failed = failure(tmp_path, {"song.mp3": song}, music="song.mp3")
    assert str(failed) == "the music song.mp3 cannot be used: reading it took more than 0.2 s"


@pytest.mark.fault
def test_after_a_film_that_was_killed_the_next_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    photos = [odd.grain(tmp_path / f"{n}.jpg", (160, 90)) for n in range(2)]
    # It is killed by its own report of the first progress: no other process has to guess the moment.
    program = """
import os, signal, sys
from pathlib import Path
from minimoto.engines.film import make_film
from minimoto.steps import STEPS
settings = STEPS["video"].parse({"size": "160x90", "fps": "10", "seconds": "2", "encoder": "x264"})
make_film([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]), settings.film, None,
          lambda done, text: os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", program, out / "trip.mp4", *photos], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert film(tmp_path).name == "trip.mp4"
