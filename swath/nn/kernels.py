"""Explicit 16-lane arithmetic and task sharing for the CPU kernels of this package.

Numba compiles scalar loops and hopes that LLVM vectorises them; it does not when a loop calls `math.exp`, or when
it cannot prove that arrays do not overlap. The functions here are numba intrinsics on a `float32 x 16` value (one
AVX-512 register, two AVX registers, four NEON registers), so a kernel states its vector width itself.
They work inside `numba.njit` code only, on flat C-contiguous float32 arrays.

>>> import numpy as np
>>> from numba import njit
>>> @njit
... def exponentials(values, results):
...     store(results, 0, exponential(load(values, 0)))
>>> results = np.empty(16, np.float32)
>>> exponentials(np.linspace(-87, 0, 16, dtype=np.float32), results)
>>> bool(np.allclose(results, np.exp(np.linspace(-87, 0, 16)), rtol=2e-6, atol=0))
True
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 16
_FLOAT = ir.FloatType()
_INTEGER = ir.IntType(32)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTEGERS = ir.VectorType(_INTEGER, LANES)
_Generator = Callable[..., Any]
_Typed = tuple[Any, _Generator]


class LanesType(types.Type):  # type: ignore[misc]
    """The numba type of a vector of 16 float32 values."""

    def __init__(self) -> None:
        super().__init__(name="swath_float32x16")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [ir.Constant(_FLOAT, float(np.float32(value)))] * LANES)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    signature = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fmuladd.v{LANES}f32")
    return builder.call(function, [a, b, c])


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> _Typed:
    """Read 16 values of a flat array from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=4, typ=_FLOATS)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> _Typed:
    """Write 16 values into a flat array from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> _Typed:
    """Ask for the cache line that holds `index` of a flat array; an index beyond the array does no harm."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INTEGER, _INTEGER, _INTEGER])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, near, of_data = (ir.Constant(_INTEGER, value) for value in (0, 3, 1))
        builder.call(function, [pointer, read, near, of_data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def splat(typing_context: Any, value: Any) -> _Typed:
    """Put one float32 into all 16 lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(_INTEGER, 0))
        return builder.shuffle_vector(first, undefined, ir.Constant(_INTEGERS, None))

    return lanes(types.float32), generate


@intrinsic
def multiply(typing_context: Any, a: Any, b: Any) -> _Typed:
    """Multiply lane by lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return lanes(lanes, lanes), generate


@intrinsic
def multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> _Typed:
    """Compute a * b + c lane by lane, with one rounding where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _multiply_add(builder, *arguments)

    return lanes(lanes, lanes, lanes), generate


def _pairwise_sum(builder: Any, a: Any, b: Any, distance: int) -> Any:
    """Add lanes a distance apart: lanes whose place has that bit clear hold sums of a, the others sums of b."""
    halves = []
    for offset in (0, distance):
        places = [i + offset if not i & distance else LANES + i - offset for i in range(LANES)]
        mask = ir.Constant(_INTEGERS, [ir.Constant(_INTEGER, place) for place in places])
        halves.append(builder.shuffle_vector(a, b, mask))
    return builder.fadd(*halves)


@intrinsic
def lane_sums(typing_context: Any, array: Any, index: Any) -> _Typed:
    """Add up the lanes of each of 16 consecutive vectors of a flat array; lane i is the sum of vector i.

    The order of additions is fixed, so the result repeats bit for bit.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = _pointer(context, builder, signature.args[0], *arguments)
        places = (builder.gep(first, [ir.Constant(_INTEGER, i)]) for i in range(LANES))
        vectors = [builder.load(place, align=4, typ=_FLOATS) for place in places]
        while len(vectors) > 1:
            half = len(vectors) // 2
            vectors = [_pairwise_sum(builder, vectors[i], vectors[i + half], half) for i in range(half)]
        return vectors[0]

    return lanes(array, types.intp), generate


# exp(x) = 2^k * p(r) with x = k ln 2 + r, |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds x / ln 2 to an integer that then
# sits in the low mantissa bits; the 127 on top makes it a biased exponent, so one shift turns it into the float 2^k.
_ROUNDER = 1.5 * 2**23 + 127
# ln 2 in two parts; the first has so few bits that its product with k is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
# Minimax fit of relative error 1e-7 with p(0) = 1, highest power first.
_POLYNOMIAL = (0.008290247512919083, 0.04189816070105822, 0.16667638486463687, 0.499991478242627, 0.9999997062336862, 1)


def _exponential(builder: Any, x: Any) -> Any:
    for sign, bound in (("<", -87.0), (">", 88.0)):
        beyond = builder.fcmp_ordered(sign, x, _constant(bound))
        x = builder.select(beyond, _constant(bound), x)
    shifted = _multiply_add(builder, x, _constant(1.4426950408889634), _constant(_ROUNDER))
    k = builder.fsub(shifted, _constant(_ROUNDER))
    r = _multiply_add(builder, k, _constant(-_LN2_HIGH), x)
    r = _multiply_add(builder, k, _constant(-_LN2_LOW), r)
    polynomial = _constant(_POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        polynomial = _multiply_add(builder, polynomial, r, _constant(coefficient))
    places = ir.Constant(_INTEGERS, [ir.Constant(_INTEGER, 23)] * LANES)
    power = builder.bitcast(builder.shl(builder.bitcast(shifted, _INTEGERS), places), _FLOATS)
    return builder.fmul(polynomial, power)


@intrinsic
def exponential(typing_context: Any, x: Any) -> _Typed:
    """Compute exp(x) for x clamped to [-87, 88]; relative error below 2e-7, NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _exponential(builder, *arguments)

    return lanes(lanes), generate


@intrinsic
def sigmoid(typing_context: Any, x: Any) -> _Typed:
    """Compute 1 / (1 + exp(-x))."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        negated = builder.fsub(_constant(-0.0), arguments[0])
        return builder.fdiv(_constant(1.0), builder.fadd(_constant(1.0), _exponential(builder, negated)))

    return lanes(lanes), generate


@cache
def _helpers(process: int) -> ThreadPoolExecutor:
    """Return the helper threads of a process (a forked child starts its own)."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix=f"swath-kernels-{process}")


def share_out(kernel: Callable[..., None], tasks: int, *arguments: Any) -> None:
    """Run `kernel(start, stop, *arguments)` over the range of tasks on `torch.get_num_threads()` threads.

    Plain threads, because kernels release the interpreter lock: a second OpenMP pool beside torch's would have its
    idle threads spin on the cores that torch's need, and GNU OpenMP aborts in forked data-loading workers.
    Which thread does a task never changes its result.

    >>> seen = []
    >>> share_out(lambda start, stop: seen.extend(range(start, stop)), 5)
    >>> sorted(seen)
    [0, 1, 2, 3, 4]
    """
    threads = min(torch.get_num_threads(), tasks)
    if threads <= 1:
        kernel(0, tasks, *arguments)
        return
    pieces = min(tasks, 4 * threads)
    counter = itertools.count()

    def work() -> None:
        while (piece := next(counter)) < pieces:
            kernel(piece * tasks // pieces, (piece + 1) * tasks // pieces, *arguments)

    helpers = [_helpers(os.getpid()).submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        helper.result()


def runs_kernels(*tensors: torch.Tensor) -> bool:
    """Say whether the CPU kernels can take these tensors: float32 in main memory, and not while a graph is traced.

    >>> runs_kernels(torch.zeros(1)), runs_kernels(torch.zeros(1, dtype=torch.float64))
    (True, False)
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return not traced and all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def flat(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """View a contiguous CPU tensor as a flat array.

    >>> flat(torch.zeros(2, 3)).shape
    (6,)
    """
    return tensor.detach().view(-1).numpy()
