"""The whole way of a folder of photos, typed for you: ``make demo``.

Starts the embedded AWS, sets a deployment up, sends the photos as three jobs at once (a wide, a tall and a square
film; of many photos only a wide one), watches the fleet grow, fetches the films, watches the fleet shrink, and cleans
up. Every line that begins with ``$`` is a command that you can type yourself.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILMS = {
    "wide": "fit:1920x1080,mode=inside | video:title={title}",
    "tall": "fit:720x1280,mode=inside | video:size=720x1280,transition=slide",
    "square": "fit:720x720,mode=inside | video:size=720x720,fill=crop,transition=wipe",
}

MANY = 30
"""Files beyond which a folder is large."""


def main() -> int:
    """Runs the demonstration; the exit status is that of the first command that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=ROOT / "examples" / "photos")
    parser.add_argument("--state", type=Path, default=Path(".minimoto"), help="where the embedded AWS keeps its files")
    parser.add_argument("--out", type=Path, default=Path("out"))
    args = parser.parse_args()
    args.photos = args.photos.expanduser()
    if not args.photos.is_dir():
        parser.error(f"{args.photos}: there is no such folder; name one with make demo PHOTOS=folder")
    config = args.state / "configure.ini"
    # A short cooldown, so that the fleet is seen shrinking; small tasks, so that several nodes have some.
    environ = dict(
        os.environ, MINIMOTO_CONFIG=str(config), MINIMOTO_FLEET_COOLDOWN="3", MINIMOTO_SERVICE_TASK_SECONDS="1"
    )
    started = time.monotonic()
    status = 1
    try:
        status = _demonstrate(args, environ)
    except subprocess.CalledProcessError as error:
        status = error.returncode
        print(f"\nthat failed; what the machines said is in {args.state}/nodes", file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
        print("\ninterrupted", file=sys.stderr)
    finally:
        _quietly(["minimoto_cleanup.py", "--yes"], environ)
        _quietly(["-m", "minimoto", "local", "stop", "--state", str(args.state)], environ)
    if status == 0:
        print(f"\n{time.monotonic() - started:.0f} s in all; the films:")
        for film in sorted(args.out.glob("*.mp4")):
            print(f"  {film.resolve()}")
    return status


def _demonstrate(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    start = ["local", "start", "--state", str(args.state), "--write-config", environ["MINIMOTO_CONFIG"]]
    _say("an AWS of our own, on this computer")
    _run(["-m", "minimoto", *start], environ)
    _say("every resource: queue, buckets, table, roles, machines, image")
    _run(["minimoto_setup.py", "--yes"], environ)
    _say("the photos, as jobs side by side; the watchdog sees the queue grow")
    over = threading.Event()
    watcher = threading.Thread(target=_tell_of_the_fleet, args=(environ["MINIMOTO_CONFIG"], over), daemon=True)
    watcher.start()
    films = _films(args.photos)
    for name, pipeline in films.items():
        wait = ["--wait", "--out", str(args.out)] if name == list(films)[-1] else []
        _run(["minimoto_client.py", str(args.photos), "--name", name, "--pipeline", pipeline, *wait], environ)
    _say("the fleet, and why it has that size")
    _run(["minimoto_watchdog.py", "--status"], environ)
    _run(["minimoto_watchdog.py", "--explain"], environ)
    for name in list(films)[:-1]:
        _run(["-m", "minimoto", "status", name, "--wait"], environ)
        _run(["-m", "minimoto", "fetch", name, "--out", str(args.out)], environ)
    _say("nothing left to do: back to one machine")
    _until_one_machine(environ["MINIMOTO_CONFIG"])
    over.set()
    watcher.join()
    _run(["minimoto_watchdog.py", "--status"], environ)
    _run(["minimoto_watchdog.py", "--explain"], environ)
    _say("everything is deleted again")
    _run(["minimoto_cleanup.py", "--yes"], environ)
    return 0


def _films(photos: Path) -> dict[str, str]:
    """Name and pipeline of each film; of a large folder only the wide one, which is long enough."""
    title = photos.resolve().name.replace("_", " ").replace('"', "'").title()
    films = {name: pipeline.format(title=f'"{title}"') for name, pipeline in FILMS.items()}
    large = sum(1 for _ in photos.iterdir()) > MANY
    return {"wide": films["wide"]} if large else films


def _say(what: str) -> None:
    print(f"\n\033[1m# {what}\033[0m" if sys.stdout.isatty() else f"\n# {what}", flush=True)


def _run(command: list[str], environ: Mapping[str, str]) -> None:
    shown = ["minimoto", *command[2:]] if command[0] == "-m" else ["python", *command]
    print(f"$ {shlex.join(shown)}", flush=True)
    subprocess.run([sys.executable, *_absolute(command)], env=environ, check=True)


def _quietly(command: list[str], environ: Mapping[str, str]) -> None:
    """Leaves nothing behind, whatever happened; what it says has been said before."""
    with suppress(KeyboardInterrupt):
        subprocess.run([sys.executable, *_absolute(command)], env=environ, check=False, capture_output=True)


def _absolute(command: list[str]) -> list[str]:
    return command if command[0] == "-m" else [str(ROOT / command[0]), *command[1:]]


def _machines(file: str) -> int:
    """How many service machines there are now."""
    from minimoto import config
    from minimoto.wiring import Cloud

    return len(Cloud(config.load(file, environ={})).fleet.instances())


def _tell_of_the_fleet(file: str, over: threading.Event) -> None:
    """Says when a machine has been started or ended."""
    before = _machines(file)
    while not over.wait(1.0):
        now = _machines(file)
        if now != before:
            print(f"\n>>> the watchdog: {before} -> {now} machines\n", flush=True)
        before = now


def _until_one_machine(file: str, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _machines(file) > 1:
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
