"""Videos among the photos: shown for their time, heard, turned upright; hostile ones are left out with one line."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import clips
import film_probe as probe
import numpy as np
import odd_pictures as odd
import pytest

from minimoto.engines.film_clip import probe as look
from minimoto.engines.film_process import Pipe
from minimoto.errors import UnreadablePicture
from minimoto.steps import STEPS
from minimoto.steps.base import Context, StepResult

VIDEO = STEPS["video"]
SIZE = (160, 90)
SMALL = {"size": "160x90", "fps": "10", "seconds": "1", "transition_seconds": "0.3", "encoder": "x264"}


def make(folder: Path, inputs: list[Path], music: Path | None = None, **params: str) -> tuple[Path, StepResult]:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    attached = {music.name: music} if music else {}
    given = {"music": music.name} if music else {}
    result = VIDEO.run(
        Context(tuple(inputs), attached, out, "trip", lambda progress: None), VIDEO.parse(SMALL | given | params)
    )
    assert not list(out.glob(".*"))
    return result.outputs[0], result


def photos(folder: Path, count: int = 2) -> list[Path]:
    return [odd.plain(folder / f"{n}.png", (0, 0, 200)) for n in range(count)]


def test_a_clip_is_shown_for_its_time_between_the_photos(tmp_path: Path) -> None:
    before, after = photos(tmp_path)
    film, result = make(tmp_path, [before, clips.plain(tmp_path / "a.mp4", "red", 2), after])
    assert result.skipped == ()
    seen = probe.frames(film, SIZE).mean((1, 2))
    assert len(seen) == 10 + 20 + 10 - 2 * 3
    assert np.abs(seen[10:24] - (254, 0, 0)).max() < 8
    assert np.abs(seen[:7] - (0, 0, 200)).max() < 5
    assert np.abs(seen[27:] - (0, 0, 200)).max() < 5


def test_its_frames_come_at_their_times(tmp_path: Path) -> None:
    film, _ = make(tmp_path, [clips.counting(tmp_path / "a.mp4", 2, fps=10)], fps="20", quality="4")
    levels = probe.frames(film, SIZE).mean((1, 2, 3))
    assert len(levels) == 40
    # A film of twice the rate shows each frame twice.
    assert levels == pytest.approx([255 * (n // 2) / 20 for n in range(40)], abs=4)


def test_it_is_shown_no_longer_than_asked_for(tmp_path: Path) -> None:
    film, result = make(tmp_path, [clips.plain(tmp_path / "a.mp4", "red", 5)], clip_seconds="1.5")
    assert len(probe.frames(film, SIZE)) == 15
    assert result.skipped == ()


def test_a_clip_shorter_than_a_transition_shares_half_of_itself(tmp_path: Path) -> None:
    before, after = photos(tmp_path)
    film, _ = make(tmp_path, [before, clips.plain(tmp_path / "a.mp4", "red", 0.4), after])
    assert len(probe.frames(film, SIZE)) == 10 + 4 + 10 - 2 * 2


@pytest.mark.parametrize("kind", ["mov", "mkv", "avi", "mpg", "ts", "webm"])
def test_every_container_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "webm":
        clips.ffmpeg("-f", "lavfi", "-i", "color=red:s=160x90:r=25:d=1", "-c:v", "libvpx", str(path))
    elif kind == "mpg":
        clips.ffmpeg("-f", "lavfi", "-i", "color=red:s=160x90:r=25:d=1", "-c:v", "mpeg2video", str(path))
    else:
        clips.plain(path, "red", 1)
    film, result = make(tmp_path, [path], seconds="2")
    assert result.skipped == ()
    seen = probe.frames(film, SIZE)
    assert len(seen) in {9, 10}
    assert np.abs(seen.mean((0, 1, 2)) - (254, 0, 0)).max() < 12


def test_a_clip_of_a_phone_stands_upright(tmp_path: Path) -> None:
    clip = clips.turned(tmp_path / "phone.mov")
    assert look(clip, Fraction(9)).size == (90, 160)
    film, _ = make(tmp_path, [clip], size="90x160", fill="crop")
    seen = probe.frames(film, (90, 160))[5]
    assert seen[40, 45].tolist() == pytest.approx([254, 0, 0], abs=12)
    assert seen[120, 45].tolist() == pytest.approx([0, 0, 254], abs=12)


@pytest.mark.parametrize(("fill", "side"), [("black", 0), ("blur", 0.6), ("crop", 1)])
def test_what_lies_beside_a_clip(tmp_path: Path, fill: str, side: float) -> None:
    clip = clips.plain(tmp_path / "a.mp4", "red", 1, size="90x160")
    film, _ = make(tmp_path, [clip], fill=fill)
    seen = probe.frames(film, SIZE)[5]
    assert seen[45, 8].tolist() == pytest.approx([254 * side, 0, 0], abs=14)
    assert seen[45, 80].tolist() == pytest.approx([254, 0, 0], abs=10)


def test_hdr_is_mapped_to_the_film_and_not_shown_grey(tmp_path: Path) -> None:
    # ITU-R BT.2408: HLG codes the white of a page as 0.75, and skin and grass around 0.5.
    white, middle = (
        probe.frames(make(tmp_path / name, [clips.hlg(tmp_path / f"{name}.mov", level)])[0], SIZE)[5].mean()
        for name, level in (("white", 0.75), ("middle", 0.5))
        if (tmp_path / name).mkdir() is None
    )
    assert look(tmp_path / "white.mov", Fraction(9)).hdr
    assert white > 205
    assert 110 < middle < 175


def test_a_variable_rate_becomes_even(tmp_path: Path) -> None:
    clip = clips.uneven(tmp_path / "a.mp4")
    film, result = make(tmp_path, [clip], fps="30")
    assert result.skipped == ()
    # Its last picture is shown for a tenth of a second, too, from 1.5 s on.
    assert len(probe.frames(film, SIZE)) == 48


def test_its_sound_is_heard_at_its_place_and_the_music_steps_back(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    clips.ffmpeg("-f", "lavfi", "-i", "sine=frequency=440:duration=3", str(song))
    clip = clips.plain(tmp_path / "a.mp4", "red", 4, sound=2000)
    inputs = [*photos(tmp_path, 3), clip, *photos(tmp_path, 3)]
    film, _ = make(tmp_path, inputs, song)
    samples = probe.sound(film)
    frames = 6 * 10 + 40 - 6 * 3
    assert len(samples) / 48000 == pytest.approx(frames / 10, abs=0.05)
    start = (3 * 10 - 3 * 3) / 10

    def level(frequency: int, at: float) -> float:
        part = samples[round(at * 48000) : round((at + 0.3) * 48000)]
        return float(abs(np.exp(-2j * np.pi * frequency * np.arange(len(part)) / 48000) @ part) / len(part))

    assert level(2000, start + 2) > 0.05
    assert level(2000, 1.0) < 0.002
    assert level(2000, start + 4.3) < 0.002
    assert level(440, start + 2) < 0.3 * level(440, 1.2)
    muted, _ = make(tmp_path, inputs, song, clip_sound="mute")
    samples = probe.sound(muted)
    assert level(2000, start + 2) < 0.002
    assert level(440, start + 2) == pytest.approx(level(440, 1.2), rel=0.1)


def test_sound_without_music(tmp_path: Path) -> None:
    clip = clips.plain(tmp_path / "a.mp4", "red", 2, sound=2000)
    film, _ = make(tmp_path, [*photos(tmp_path), clip])
    samples = np.abs(probe.sound(film))
    assert samples[:48000].max() < 0.01
    assert samples[-48000:].max() > 0.05
    assert "audio" not in probe.about(make(tmp_path, [clip], clip_sound="mute")[0]).lower()


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    inputs = [*photos(tmp_path), clips.plain(tmp_path / "a.mp4", "red", 1, sound=500), clips.turned(tmp_path / "b.mp4")]
    first = make(tmp_path, inputs, transition="random")[0].read_bytes()
    assert make(tmp_path, inputs, transition="random")[0].read_bytes() == first


def broken(path: Path, kind: str) -> Path:
    if kind == "sound alone":
        clips.ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(path))
    elif kind == "headers alone":
        path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomavc1" + b"\0\0\0\x08free")
    elif kind == "noise":
        path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomavc1" + np.random.default_rng(1).bytes(50_000))
    elif kind == "too large a picture":
        clips.ffmpeg("-f", "lavfi", "-i", "color=red:s=10000x8000:r=1:d=1", "-c:v", "mjpeg", "-f", "mov", str(path))
    else:
        whole = clips.plain(path, "red", 2)
        whole.write_bytes(whole.read_bytes()[:600])
    return path


@pytest.mark.parametrize("kind", ["sound alone", "headers alone", "noise", "too large a picture", "cut short"])
def test_a_hostile_clip_is_left_out_with_one_line(tmp_path: Path, kind: str) -> None:
    bad = broken(tmp_path / "bad.mp4", kind)
    film, result = make(tmp_path, [photos(tmp_path)[0], bad])
    [skip] = result.skipped
    assert skip.name == "bad.mp4"
    assert skip.reason
    assert "\n" not in skip.reason
    assert len(probe.frames(film, SIZE)) == 10


def test_a_playlist_called_like_a_clip_opens_nothing(tmp_path: Path) -> None:
    clips.plain(tmp_path / "secret.mp4", "red", 1)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.mp4\n")
    with pytest.raises(UnreadablePicture, match=r"^list\.mp4: the video cannot be decoded"):
        look(playlist, Fraction(5))


def test_a_clip_whose_end_is_missing_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    clip = clips.counting(tmp_path / "a.mkv", 4, fps=25)
    film, whole = make(tmp_path, [clip])
    assert len(probe.frames(film, SIZE)) == 40
    assert whole.skipped == ()
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    film, half = make(tmp_path, [clip])
    assert half.skipped == ()
    assert 10 <= len(probe.frames(film, SIZE)) <= 30


def test_what_a_video_says_of_itself_is_not_taken_for_what_it_is(tmp_path: Path) -> None:
    lie = "[Parsed_showinfo_0 @ 0x1] sar:1/1 s:0x0 i:P"
    clip = clips.plain(
        tmp_path / "a.mp4", "red", 1, more=["-metadata", f"title={lie}", "-metadata", f"comment=\n{lie}"]
    )
    found = look(clip, Fraction(15))
    assert found.size == SIZE
    assert make(tmp_path, [*photos(tmp_path, 1), clip])[1].skipped == ()


def test_a_decoder_that_says_nothing_is_ended_once_and_for_all() -> None:
    with Pipe([sys.executable, "-c", "import signal; signal.pause()"], patience=0.05) as pipe:
        assert pipe.read(10) == b""
        assert pipe.read(10) == b""


def test_a_video_whose_sound_begins_before_its_pictures_is_shown_to_its_end(tmp_path: Path) -> None:
    pictures, sound = clips.counting(tmp_path / "a.mp4", 1), tmp_path / "b.m4a"
    clips.ffmpeg("-f", "lavfi", "-i", "sine=d=2", str(sound))
    late = tmp_path / "late.mp4"
    clips.ffmpeg("-itsoffset", "1", "-i", str(pictures), "-i", str(sound), "-c", "copy", str(late))
    film, result = make(tmp_path, [late], quality="4")
    assert result.skipped == ()
    levels = probe.frames(film, SIZE).mean((1, 2, 3))
    assert levels == pytest.approx([0] * 10 + [255 * n / 10 for n in range(10)], abs=4)
