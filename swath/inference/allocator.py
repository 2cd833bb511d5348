"""Keeping freed memory from staying with the process.

The C library of Linux raises the size from which it maps blocks of their own each time such a block is freed; after
a few windows the large arrays come from its heap, where threads and sizes fragment it. A fixed threshold gives every
window's memory back when it is done, which keeps the peak flat at any length of run.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_BYTES = 4 * 2**20


@cache
def fix_mapping_threshold() -> bool:
    """Fix the threshold once a process; return whether the C library took it (only glibc has it)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BYTES))
    except (AttributeError, OSError):
        return False
