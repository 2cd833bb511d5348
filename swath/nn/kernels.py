"""Explicit 16-lane arithmetic and task sharing for the CPU kernels of this package.

Numba compiles scalar loops and hopes that LLVM vectorises them; it does not when a loop calls `math.exp`, or when
it cannot prove that arrays do not overlap. The operations here work on 16 float32 values at once (one AVX-512
register, two AVX registers, four NEON registers), so a kernel states its vector width itself. Each is a plain
numpy function that says what it means, and the machine code that compiled functions get in its place.
Arrays are flat, C-contiguous and float32.

>>> from swath.geometry._compile import compiled
>>> @compiled
... def exponentials(values: Array, results: Array) -> None:
...     store(results, 0, exponential(load(values, 0)))
>>> results = np.empty(16, np.float32)
>>> exponentials(np.linspace(-80, 0, 16, dtype=np.float32), results)
>>> bool(np.allclose(results, np.exp(np.linspace(-80, 0, 16)), rtol=2e-5, atol=0))
True
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import lower_builtin, register_model, type_callable
from numpy.typing import NDArray

Array = NDArray[np.float32]
Lanes = NDArray[np.float32]
LANES = 16
# A block's part of successive tokens lies far apart in memory, a pattern that the processor does not foresee;
# kernels ask for the token this many steps ahead.
AHEAD = 4

_FLOAT = ir.FloatType()
_INTEGER = ir.IntType(32)
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTEGERS = ir.VectorType(_INTEGER, LANES)


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="swath_float32x16")


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _FLOATS)  # type: ignore[no-untyped-call]


_LANES = _LanesType()


def _machine_code(function: Callable[..., Any], result: Any, *operands: Any) -> Callable[[Any], Any]:
    """Make compiled code that calls `function` with such operands use the decorated generator of LLVM code."""

    def register(generate: Any) -> Any:
        def typer(*_: Any) -> Any:
            return result

        typer.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        type_callable(function)(lambda _: typer)
        return lower_builtin(function, *operands)(generate)

    return register


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [ir.Constant(_FLOAT, float(np.float32(value)))] * LANES)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    signature = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fmuladd.v{LANES}f32")
    return builder.call(function, [a, b, c])


def load(array: Array, index: int) -> Lanes:
    """Read 16 values of an array from `index` on.

    >>> load(np.arange(20, dtype=np.float32), 4)[:3].tolist()
    [4.0, 5.0, 6.0]
    """
    return array[index : index + LANES].copy()


@_machine_code(load, _LANES, types.Array, types.Integer)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address = _address(context, builder, signature.args[0], *arguments)
    return builder.load(builder.bitcast(address, _FLOATS.as_pointer()), align=4, typ=_FLOATS)


def store(array: Array, index: int, value: Lanes) -> None:
    """Write 16 values into an array from `index` on.

    >>> array = np.zeros(17, np.float32)
    >>> store(array, 1, splat(2.0))
    >>> array[:2].tolist()
    [0.0, 2.0]
    """
    array[index : index + LANES] = value


@_machine_code(store, types.void, types.Array, types.Integer, _LanesType)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address = _address(context, builder, signature.args[0], *arguments[:2])
    builder.store(arguments[2], builder.bitcast(address, _FLOATS.as_pointer()), align=4)
    return context.get_dummy_value()


def prefetch(array: Array, index: int) -> None:
    """Ask for the cache line that holds `index` of an array; an index beyond the array does no harm.

    >>> prefetch(np.zeros(16, np.float32), 100)
    """


@_machine_code(prefetch, types.void, types.Array, types.Integer)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address = builder.bitcast(_address(context, builder, signature.args[0], *arguments), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [address.type, _INTEGER, _INTEGER, _INTEGER])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, near, of_data = (ir.Constant(_INTEGER, value) for value in (0, 3, 1))
    builder.call(function, [address, read, near, of_data])
    return context.get_dummy_value()


def splat(value: float) -> Lanes:
    """Put one number into all 16 lanes.

    >>> splat(2.0)[:2].tolist()
    [2.0, 2.0]
    """
    return np.full(LANES, value, np.float32)


@_machine_code(splat, _LANES, types.Float)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    number = context.cast(builder, arguments[0], signature.args[0], types.float32)
    first = builder.insert_element(undefined, number, ir.Constant(_INTEGER, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTEGERS, None))


def multiply(a: Lanes, b: Lanes) -> Lanes:
    """Multiply lane by lane.

    >>> float(multiply(splat(2.0), splat(3.0))[0])
    6.0
    """
    return a * b


@_machine_code(multiply, _LANES, _LanesType, _LanesType)
def _(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.fmul(*arguments)


def multiply_add(a: Lanes, b: Lanes, c: Lanes) -> Lanes:
    """Compute a * b + c lane by lane, with a single rounding where the processor can.

    >>> float(multiply_add(splat(2.0), splat(3.0), splat(1.0))[0])
    7.0
    """
    return a * b + c


@_machine_code(multiply_add, _LANES, _LanesType, _LanesType, _LanesType)
def _(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return _multiply_add(builder, *arguments)


def lane_sums(array: Array, index: int) -> Lanes:
    """Add up each of 16 consecutive vectors of an array: lane i is the sum of vector i's lanes.

    The order of additions is fixed (pairs, then pairs of pairs), so compiled results repeat bit for bit.

    >>> lane_sums(np.arange(256, dtype=np.float32), 0)[:2].tolist()
    [120.0, 376.0]
    """
    sums: Lanes = array[index : index + LANES * LANES].reshape(LANES, LANES).sum(axis=1)
    return sums


def _pairwise_sum(builder: Any, a: Any, b: Any, distance: int) -> Any:
    """Add lanes a distance apart: lanes whose place has that bit clear hold sums of a, the others sums of b."""
    halves = []
    for offset in (0, distance):
        places = [i + offset if not i & distance else LANES + i - offset for i in range(LANES)]
        mask = ir.Constant(_INTEGERS, [ir.Constant(_INTEGER, place) for place in places])
        halves.append(builder.shuffle_vector(a, b, mask))
    return builder.fadd(*halves)


@_machine_code(lane_sums, _LANES, types.Array, types.Integer)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address = _address(context, builder, signature.args[0], *arguments)
    first = builder.bitcast(address, _FLOATS.as_pointer())
    places = (builder.gep(first, [ir.Constant(_INTEGER, i)]) for i in range(LANES))
    vectors = [builder.load(place, align=4, typ=_FLOATS) for place in places]
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [_pairwise_sum(builder, vectors[i], vectors[i + half], half) for i in range(half)]
    return vectors[0]


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


def exponential(x: Lanes) -> Lanes:
    """Compute exp(x) for x clamped to [-87, 88], with a relative error below 2e-7; NaN stays NaN.

    >>> exponential(splat(0.0))[0].item(), round(exponential(splat(1.0))[0].item(), 5)
    (1.0, 2.71828)
    """
    clamped: Lanes = np.exp(np.clip(x, np.float32(-87), np.float32(88)))
    return clamped


@_machine_code(exponential, _LANES, _LanesType)
def _(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return _exponential(builder, *arguments)


def sigmoid(x: Lanes) -> Lanes:
    """Compute 1 / (1 + exp(-x)).

    >>> sigmoid(splat(0.0))[0].item()
    0.5
    """
    return np.reciprocal(1 + exponential(-x))


@_machine_code(sigmoid, _LANES, _LanesType)
def _(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    negated = builder.fsub(_constant(-0.0), arguments[0])
    return builder.fdiv(_constant(1.0), builder.fadd(_constant(1.0), _exponential(builder, negated)))


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


def is_traced() -> bool:
    """Say whether a graph is being recorded (`torch.export`, `torch.compile`, `torch.jit.trace`).

    >>> is_traced()
    False
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing or torch.compiler.is_compiling()


def runs_kernels(*tensors: torch.Tensor) -> bool:
    """Say whether the CPU kernels can take these tensors: float32, in main memory, and no graph being recorded.

    >>> runs_kernels(torch.zeros(1)), runs_kernels(torch.zeros(1, dtype=torch.float64))
    (True, False)
    """
    fit = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    return fit and not is_traced()


def flat(tensor: torch.Tensor) -> Array:
    """View a contiguous CPU tensor as a flat array.

    >>> flat(torch.zeros(2, 3)).shape
    (6,)
    """
    return tensor.detach().view(-1).numpy()
