"""Emptying the folders that steps have worked in, whatever they left there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def empty(folder: Path) -> None:
    """Makes ``folder`` an empty folder that only this user can enter, whatever it holds."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        try:
            shutil.rmtree(folder)
        except PermissionError:
            _permit(folder)
            shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)


def clear(folder: Path, parts: tuple[str, ...]) -> None:
    """Leaves nothing in ``folder`` but the empty folders ``parts``; cheap where there is nothing to remove."""
    for entry in list(os.scandir(folder)):
        if entry.name not in parts or not entry.is_dir(follow_symlinks=False) or _holds_anything(entry.path):
            empty(Path(entry.path))
            os.rmdir(entry.path)
    for part in parts:
        (folder / part).mkdir(mode=0o700, exist_ok=True)


def _holds_anything(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(entries)
    except PermissionError:
        return True


def _permit(folder: Path) -> None:
    """Gives back the permissions that a step may have taken from its own folders."""
    folder.chmod(0o700)
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
