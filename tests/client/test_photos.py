"""Finding and ordering photos: real pictures of each kind, and what strangers' folders hold besides."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from minimoto import photos
from minimoto.errors import InvalidInput
from minimoto.photos import Photo, exif_order, find_attachments, find_photos, given_order, natural_order

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Puts a small real picture into the folder."""

    def make(name: str, format: str = "JPEG", taken: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (16, 12), (200, 80, 40))
        exif = Image.Exif()
        if taken:
            exif.get_ifd(0x8769)[0x9003] = taken
        if format == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener(thumbnails=False)
        image.save(path, format, exif=exif)
        return path

    return make


def names(found: photos.Found) -> list[str]:
    return [photo.original for photo in found.photos]


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.png", "PNG"), ("a.webp", "WEBP"), ("a.tif", "TIFF"), ("a.gif", "GIF"),
     ("a.heic", "HEIF"), ("a.HEIF", "HEIF"), ("a.jfif", "JPEG")],
)  # fmt: skip
def test_every_format_is_known_by_its_content(tmp_path: Path, make: Make, name: str, format: str) -> None:
    made = make(name, format)
    (found,) = find_photos(tmp_path).photos
    assert found == Photo(made, name, made.stat().st_size)


def test_a_picture_called_like_another_format_is_a_photo(tmp_path: Path, make: Make) -> None:
    make("a.jpg", "PNG")
    assert names(find_photos(tmp_path)) == ["a.jpg"]


def test_a_truncated_jpeg_goes_up_for_the_worker_to_judge(tmp_path: Path, make: Make) -> None:
    path = make("a.jpg")
    path.write_bytes(path.read_bytes()[:100])
    assert names(find_photos(tmp_path)) == ["a.jpg"]


def test_what_is_no_photo_is_left_out_with_a_count(tmp_path: Path, make: Make) -> None:
    make("a.jpg")
    make(".hidden.jpg")
    (tmp_path / "album").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    make("raw.nef", "TIFF")
    (tmp_path / "notes.jpg").write_text("a text file called like a photo")
    (tmp_path / "empty.png").touch()
    found = find_photos(tmp_path, besides=["song.mp3"])
    assert names(found) == ["a.jpg"]
    assert found.left_out == photos.LeftOut(2, 1, 2, ("empty.png", "notes.jpg"))
    assert str(found.left_out) == (
        "left out: 2 hidden files, 1 folder, 2 files that are no photos,"
        " 2 files only called like a photo (empty.png, notes.jpg)"
    )
    assert found.left_out.count == 7


def test_videos_are_taken_in_where_the_pipeline_takes_them(tmp_path: Path, make: Make) -> None:
    make("a.jpg")
    (tmp_path / "b.MOV").write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    (tmp_path / "c.mp4").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isomavc1")
    (tmp_path / "d.mp4").write_text("#EXTM3U")
    assert names(find_photos(tmp_path)) == ["a.jpg"]
    assert str(find_photos(tmp_path).left_out) == (
        "left out: 3 videos (only a pipeline that begins with video takes them in)"
    )
    found = find_photos(tmp_path, clips=True)
    assert names(found) == ["a.jpg", "b.MOV", "c.mp4"]
    assert found.left_out == photos.LeftOut(mislabelled=("d.mp4",))


def test_a_style_picture_beside_the_photos_is_none_of_them(tmp_path: Path, make: Make) -> None:
    make("a.jpg")
    style = make("starry.jpg")
    assert names(find_photos(tmp_path, besides=["starry.jpg"])) == ["a.jpg"]
    assert find_attachments(tmp_path, ["starry.jpg"]) == {"starry.jpg": style}


def test_links_to_files_are_followed_and_all_else_is_never_opened(tmp_path: Path, make: Make) -> None:
    target = make("elsewhere/a.jpg")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(target)
    (folder / "broken.jpg").symlink_to(tmp_path / "nowhere")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "up.jpg").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.jpg")
    found = find_photos(folder, recursive=True)
    assert names(found) == ["link.jpg"]
    assert found.left_out.folders == 1
    assert found.left_out.mislabelled == ("broken.jpg", "device.jpg", "loop.jpg", "pipe.jpg")


def test_folders_are_looked_into_only_when_asked(tmp_path: Path, make: Make) -> None:
    for name in ("b.jpg", "day 2/a.jpg", "day 10/a.jpg", "day 2/.cache/x.jpg", ".trash/x.jpg"):
        make(name)
    assert names(find_photos(tmp_path)) == ["b.jpg"]
    assert find_photos(tmp_path).left_out.folders == 2
    found = find_photos(tmp_path, recursive=True)
    assert names(found) == ["b.jpg", "day 2/a.jpg", "day 10/a.jpg"]
    assert found.left_out == photos.LeftOut(hidden=2)


def test_natural_order_is_that_of_people() -> None:
    wanted = ["1.jpg", "2.jpg", "10.jpg", "img2b.jpg", "IMG9.jpg", "img10.jpg"]
    for seed in range(5):
        shuffled = [Photo(Path(name), name, 1) for name in wanted]
        random.Random(seed).shuffle(shuffled)
        assert [photo.original for photo in natural_order(shuffled)] == wanted


def test_exif_order_puts_those_without_a_time_last_by_name(tmp_path: Path, make: Make) -> None:
    make("a.jpg", taken="2024:07:01 18:00:00")
    make("b.jpg", taken="2024:07:01 09:00:00")
    make("c10.jpg")
    make("c9.jpg")
    make("d.jpg", taken="nonsense")
    make("e.jpg", taken="2024:07:01 09:00:00")
    found = find_photos(tmp_path)
    assert [p.original for p in exif_order(found.photos)] == ["b.jpg", "e.jpg", "a.jpg", "c9.jpg", "c10.jpg", "d.jpg"]


def test_a_list_says_which_photos_and_in_which_order(tmp_path: Path, make: Make) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        make(name)
    found = find_photos(tmp_path).photos
    chosen = given_order(found, ["c.jpg\r\n", "", "./a.jpg", "c.jpg"], "order.txt")
    assert [photo.original for photo in chosen] == ["c.jpg", "a.jpg", "c.jpg"]
    with pytest.raises(InvalidInput, match=r"order\.txt, line 2: there is no photo d\.jpg"):
        given_order(found, ["a.jpg", "d.jpg"], "order.txt")
    with pytest.raises(InvalidInput, match="names no photo"):
        given_order(found, ["", "  "], "order.txt")


@pytest.mark.parametrize(
    ("what", "says"),
    [("missing", "there is no such folder"), ("file", "this is a file"), ("link", "the link leads nowhere"),
     ("empty", "no photo in this folder"), ("deep", "look into its folders with --recursive"), ("long", "cannot be")],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_gets_one_clear_line(tmp_path: Path, make: Make, what: str, says: str) -> None:
    folder = tmp_path / what
    if what == "file":
        folder.touch()
    elif what == "link":
        folder.symlink_to(tmp_path / "nowhere")
    elif what == "empty":
        folder.mkdir()
    elif what == "deep":
        make("deep/inside/a.jpg")
    elif what == "long":
        folder = tmp_path / ("x" * 300)
    with pytest.raises(InvalidInput, match=says) as error:
        find_photos(folder)
    assert str(error.value).startswith(f"{folder}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = make("secret.jpg")
    opened = os.open

    def refuse(path: object, *args: int) -> int:
        if path == secret:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InvalidInput, match=r"secret\.jpg: cannot be read \(Permission denied\)"):
        find_photos(tmp_path)


def test_too_many_photos_are_refused_before_anything_is_sent(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "MOST_PHOTOS", 3)
    for number in range(4):
        make(f"{number}.jpg")
    with pytest.raises(InvalidInput, match="more than 3 photos"):
        find_photos(tmp_path)
    with pytest.raises(InvalidInput, match="more than 3 photos"):
        given_order([Photo(Path("a"), "a", 1)], ["a"] * 4, "list")


def test_names_of_any_bytes_are_shown_harmlessly(tmp_path: Path, make: Make) -> None:
    picture = make("a.jpg").read_bytes()
    undecodable = [] if sys.platform == "darwin" else [b"\xff\xfe.jpg"]  # macOS makes no such files
    for raw in (b"b\x1b[31m.jpg", b"c\nd.jpg", "ü.jpg".encode(), *undecodable):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), raw))).write_bytes(picture)
    shown = set(names(find_photos(tmp_path)))
    assert shown - {"??.jpg"} == {"a.jpg", "b?[31m.jpg", "c?d.jpg", "ü.jpg"}
    assert ("??.jpg" in shown) is bool(undecodable)


@pytest.mark.parametrize(
    ("name", "says"),
    [("song.mp3", r"names song\.mp3, which is not there; did you mean songs\.mp3\?"), ("../x", "may only name a file"),
     ("a/b", "may only name a file"), (".env", "may only name a file"), ("sub", "which is not there"),
     ("", "may only name a file")],
)  # fmt: skip
def test_attachments_lie_beside_the_photos(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "songs.mp3").write_bytes(b"ID3")
    (tmp_path / "sub").mkdir()
    (tmp_path / ".env").touch()
    with pytest.raises(InvalidInput, match=says):
        find_attachments(tmp_path, [name])


@pytest.mark.parametrize(
    ("head", "picture"),
    [(b"", False), (b"\xff\xd8\xff\xe0", True), (b"RIFF\0\0\0\0WEBPVP8 ", True), (b"RIFF\0\0\0\0WAVEfmt ", False),
     (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", True), (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", False),
     (b"\0\0\0\x1cftypXXXX\0\0\0\0miafmif1heic", True), (b"\0\0\0\x10ftypXXXX\0\0\0\0heic", False),
     (b"<svg xmlns=", False), (b"%PDF-1.7", False), (b"BM\0\0", False), (b"MM\0*", True)],
)  # fmt: skip
def test_signatures(head: bytes, picture: bool) -> None:
    assert photos.is_picture(head) is picture
