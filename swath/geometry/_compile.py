"""Compiling loops to machine code with numba, once for every process that follows.

>>> @compiled
... def double(value: int) -> int:
...     return 2 * value
>>> double.__name__
'double'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function at its first call, keep its signature for type checkers, and release the GIL inside.

    The machine code is cached beside the source or in the user's cache folder; where neither can be written
    (a read-only container) the function is compiled afresh in each process.

    >>> compiled(lambda value: value + 1)(2)
    3
    """
    try:
        return cast("Callable[Parameters, Result]", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba found no folder to cache in
        return cast("Callable[Parameters, Result]", numba.njit(nogil=True)(function))
