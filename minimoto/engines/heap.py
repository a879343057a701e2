"""The C library's heap."""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Give what is free on the heap back to the system, where the C library is glibc; elsewhere do nothing.

    glibc keeps what was freed for the next who asks; large arrays, which it maps by themselves, never do.
    """
    function = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if function is not None:
        function(ctypes.c_size_t(0))
