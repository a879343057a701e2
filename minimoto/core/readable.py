"""Numbers, times and names as a person reads them."""

from __future__ import annotations

from minimoto.core.job import JobState

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def printable(text: str) -> str:
    """``text`` with every control character and undecodable byte as ``?``: safe on a terminal and in a log."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shortened(text: str, most: int) -> str:
    """``text`` in ``most`` characters: whole sentences if they are half of that, else whole words and ``…``."""
    if len(text) <= most:
        return text
    sentences = text[:most].rfind(". ") + 1
    if sentences > most // 2:
        return text[:sentences]
    words = text[: most - 1].rfind(" ")
    return f"{text[: words if words > most // 2 else most - 1]}…"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 photo``, ``2 photos``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def size_text(size: int) -> str:
    """A number of bytes in decimal units: ``980 B``, ``1.2 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration_text(seconds: float) -> str:
    """A duration in its two greatest units: ``41 s``, ``2 min 5 s``, ``3 h 10 min``, ``2 d 4 h``."""
    whole = max(0, round(seconds))
    for unit, name, below, below_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name} {rest} {below_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def percent_text(fraction: float) -> str:
    """``0..1`` in whole percent, 100 only when all is done."""
    return f"{int(max(0.0, min(1.0, fraction)) * 100)} %"


def state_text(state: JobState) -> str:
    """A job's state in a word or two."""
    return _STATES[state]


_STATES = {
    JobState.NOT_READY_TO_PROCESS: "uploading",
    JobState.READY_TO_PROCESS: "waiting in the queue",
    JobState.BEING_PROCESSED: "being processed",
    JobState.PROCESSING_SUCCESSFUL: "done",
    JobState.PROCESSING_FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
