from __future__ import annotations

import hosts
import numpy as np
import pytest
from hosts import DTYPES, INF, NAN, compiled, end_of_memory, lanes_of, random
from numba.core.errors import TypingError

from jitnet import registers
from jitnet.registers import (
    absolute,
    any_lane,
    broadcast,
    copy_sign,
    count_bits,
    lane_maximum,
    lane_sum,
    lanes,
    load,
    load_first,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    multiply_add,
    prefetch,
    select,
    store,
    store_first,
)

# --- vectors --------------------------------------------------------------------------------------------------------


@compiled
def arithmetic(x, y, out):
    a, b, w = load(x, 0), load(y, 0), lanes(x)
    store(a + b, out, 0)
    store(a - b, out, w)
    store(a * b, out, 2 * w)
    store(a / b, out, 3 * w)
    store(-a, out, 4 * w)
    store(2.0 * a + 1 - b / 4, out, 5 * w)
    store(multiply_add(a, b, 0.5), out, 6 * w)
    store(absolute(a), out, 7 * w)
    store(copy_sign(a, b), out, 8 * w)
    store(broadcast(0.1, x), out, 9 * w)
    store((a + 1e30) - 1e30, out, 10 * w)
    return w


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype):
    w = lanes_of(dtype)
    x, y, out = random(dtype, w), random(dtype, 2, w)[1], np.empty(11 * w, dtype)
    assert arithmetic(x, y, out) == w
    got = out.reshape(11, w)
    want = [x + y, x - y, x * y, x / y, -x, 2 * x + 1 - y / 4, None, abs(x), np.copysign(x, y)]
    for k, values in enumerate(want):
        if values is not None:
            np.testing.assert_array_equal(got[k], values)
    np.testing.assert_allclose(got[6], x.astype("f8") * y + 0.5, atol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(got[9], np.full(w, 0.1, dtype))
    # FLAGS has "reassoc", under which (a + c) - c would be a
    np.testing.assert_array_equal(got[10], np.zeros(w, dtype))


@compiled
def square_roots(x, out):
    for at in range(0, len(x), lanes(x)):
        store(np.sqrt(load(x, at)), out, at)


@pytest.mark.parametrize("dtype", DTYPES)
def test_square_roots(dtype):
    """Correctly rounded, but for float32 with AVX-512: there at most 1 ulp, over all exponents."""
    kind, rng = np.finfo(dtype), np.random.default_rng(3)
    exponents = np.arange(kind.minexp - kind.nmant, kind.maxexp)
    x = np.ldexp(rng.uniform(1, 2, (64, len(exponents))), exponents).astype(dtype)
    x[0] = np.ldexp(np.ones(1, dtype), exponents)
    x[1] = np.nextafter(x[0], np.dtype(dtype).type(0))
    ends = np.array([0.0, -0.0, np.inf, np.nan, -1.0, -np.inf, kind.max, kind.tiny, kind.smallest_subnormal], dtype)
    x = np.concatenate([x.ravel(), ends, np.zeros(-(x.size + ends.size) % lanes_of(dtype), dtype)])
    out = np.empty_like(x)
    square_roots(x, out)
    with np.errstate(invalid="ignore"):
        want = np.sqrt(x.astype(np.longdouble))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(want))
    np.testing.assert_array_equal(np.signbit(out[x == 0]), np.signbit(x[x == 0]))
    usual = np.isfinite(want) & (want > 0)
    np.testing.assert_array_equal(out[~usual & ~np.isnan(want)], x[~usual & ~np.isnan(want)])
    error = np.abs(out[usual] - want[usual]) / np.spacing(want[usual].astype(dtype))
    assert error.max() <= (1 if dtype == "float32" and registers.BITS == 512 else 0.5)


@compiled
def one_rounding(x, y, out):
    store(multiply_add(load(x, 0), load(x, 0), -load(y, 0)), out, 0)


def test_multiply_add_rounds_once_where_the_host_can():
    w = lanes_of("float64")
    x = np.full(w, 1 + 2.0**-30)
    out = np.empty(w)
    one_rounding(x, x * x, out)
    np.testing.assert_array_equal(out, np.full(w, 2.0**-60 if registers.FUSED else 0.0))


@compiled
def comparisons(x, y, out):
    a, b, w = load(x, 0), load(y, 0), lanes(x)
    store(select(a < b, 1.0, broadcast(0.0, x)), out, 0)
    store(select(a <= b, 1.0, broadcast(0.0, x)), out, w)
    store(select(a > b, 1.0, broadcast(0.0, x)), out, 2 * w)
    store(select(a >= b, 1.0, broadcast(0.0, x)), out, 3 * w)
    store(select(a == b, 1.0, broadcast(0.0, x)), out, 4 * w)
    store(select(a != b, 1.0, broadcast(0.0, x)), out, 5 * w)
    store(select((a < b) & ~(a < 0.0) | (b != b), a, b), out, 6 * w)
    store(minimum(a, b), out, 7 * w)
    store(maximum(a, b), out, 8 * w)
    return any_lane(a == 77.0), any_lane(a < INF)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_comparisons_and_bounds_with_nan(dtype):
    w = lanes_of(dtype)
    values = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN]
    for first in range(0, 49, w):
        pairs = [(values[k % 49 // 7], values[k % 7]) for k in range(first, first + w)]
        x, y = (np.array(column, dtype) for column in zip(*pairs, strict=True))
        out = np.empty(9 * w, dtype)
        none, some = comparisons(x, y, out)
        got = out.reshape(9, w)
        for k, values_k in enumerate([x < y, x <= y, x > y, x >= y, x == y, x != y]):
            np.testing.assert_array_equal(got[k], values_k.astype(dtype))
        np.testing.assert_array_equal(got[6], np.where((x < y) & ~(x < 0) | (y != y), x, y))
        np.testing.assert_array_equal(got[7], np.where(y < x, y, x))
        np.testing.assert_array_equal(got[8], np.where(y > x, y, x))
        assert (none, some) == (False, bool((x < INF).any()))


@compiled
def bits_of_mask(x):
    a = load(x, 0)
    return mask_bits(a != 0.0), mask_bits(a < 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_as_bits(dtype):
    """Bit l is lane l; neither 0 counts, NaN does."""
    w = lanes_of(dtype)
    values = np.array([0.0, -0.0, 1.0, -1.0, NAN, np.finfo(dtype).smallest_subnormal, -INF, 0.0], dtype)
    for first in range(8):
        x = np.roll(np.resize(values, max(w, 8)), first)[:w]
        nonzero, negative = bits_of_mask(x)
        assert nonzero == sum(1 << l for l in range(w) if x[l] != 0)
        assert negative == sum(1 << l for l in range(w) if x[l] < 0)
    assert bits_of_mask(np.ones(w, dtype)) == ((1 << w) - 1, 0)


@compiled
def bits_of_number(bits):
    return lowest_bit(bits), count_bits(bits)


def test_bits_of_numbers():
    for place in range(64):
        one = (1 << place) - (1 << 64 if place == 63 else 0)
        assert bits_of_number(one) == (place, 1)
        assert bits_of_number(-1 << place) == (place, 64 - place)
    assert bits_of_number(0b101101000) == (3, 4)
    assert bits_of_number(0)[1] == 0  # which has no lowest bit


def test_only_masks_have_bits():
    @compiled
    def bits_of_vector(x):
        return mask_bits(load(x, 0))

    with pytest.raises(TypingError, match="a mask is wanted"):
        bits_of_vector(random("float32", 64))


@compiled
def across(x):
    a = load(x, 0)
    return lane_sum(a), lane_maximum(a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions_have_one_order(dtype):
    x = random(dtype, lanes_of(dtype)) * 1e6
    tree = x
    while tree.size > 1:
        tree = tree[: tree.size // 2] + tree[tree.size // 2 :]
    total, largest = across(x)
    assert total == tree[0]
    assert largest == x.max()
    for lane in range(x.size):
        with_nan = x.copy()
        with_nan[lane] = NAN
        assert np.isnan(across(with_nan)).all()


# --- memory ---------------------------------------------------------------------------------------------------------


@compiled
def copy_first(x, at, out, to, count):
    store_first(load_first(x, at, count), out, to, count)


@compiled
def load_some(x, at, count, out):
    store(load_first(x, at, count), out, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_copies_touch_nothing_behind(dtype):
    w = lanes_of(dtype)
    x = random(dtype, 3 * w)
    for count in range(-1, w + 3):
        copied = min(max(count, 0), w)
        out = np.full(3 * w, 7, dtype)
        copy_first(x, w + 1, out, w, count)
        np.testing.assert_array_equal(out[w : w + copied], x[w + 1 : w + 1 + copied])
        assert (out[:w] == 7).all()
        assert (out[w + copied :] == 7).all()
        load_some(x, w, count, out)
        np.testing.assert_array_equal(out[:copied], x[w : w + copied])
        assert not out[copied:w].any()


@compiled
def ask(x, at):
    prefetch(x, at)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_access_at_the_end_of_memory(dtype):
    with end_of_memory(dtype) as x:
        ask(x, x.size)
        for count in range(lanes_of(dtype)):
            copy_first(x, x.size - count, x, x.size - count, count)


def test_wrong_arrays_are_refused():
    x = random("float32", 64)
    for bad in (x.astype("int32"), x[::2], x.astype("float16")):
        with pytest.raises(TypingError):
            across(bad)
    with pytest.raises(TypingError):
        copy_first(x, 0, x.astype("float64"), 0, 1)
    read_only = x.copy()
    read_only.flags.writeable = False
    copy_first(read_only, 0, x, 0, 1)
    with pytest.raises(TypingError):
        copy_first(x, 0, read_only, 0, 1)


# --- hosts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "machine", "shape"),
    [
        ({"avx2", "fma", "avx512f"}, "x86_64", (512, True, 8, 2)),
        ({"avx2", "fma"}, "AMD64", (256, True, 6, 2)),
        ({"avx", "sse4.2"}, "x86_64", (128, False, 4, 2)),
        (set(), "arm64", (128, True, 8, 2)),
        ({"neon"}, "aarch64", (128, True, 8, 2)),
        (set(), "riscv64", (128, False, 4, 2)),
    ],
)
def test_shapes_of_hosts(features, machine, shape):
    assert registers._shape_of_host(features, machine) == shape
    bits, _, rows, vectors = shape
    known = 32 if bits == 512 or machine in ("arm64", "aarch64") else 16
    assert rows * vectors + vectors + 1 <= known


@pytest.mark.parametrize(
    ("features", "is_one"),
    [
        ({"avx512f", "gfni"}, True),
        ({"avx512f"}, False),  # Skylake, Cascade Lake: 32 KB
        ({"avx512f", "gfni", "sse4a"}, False),  # Zen 4
        ({"avx2", "fma", "gfni"}, False),
        (set(), False),
    ],
)
def test_which_hosts_are_intels_since_ice_lake(features, is_one):
    assert registers._is_intel_since_ice_lake(features) == is_one


# --- the same on other hosts ----------------------------------------------------------------------------------------


def test_registers_are_what_the_host_has():
    hosts.assert_registers_are_as_told()


@hosts.has_other_hosts
@pytest.mark.parametrize("host", ["avx2", "generic"])
def test_other_hosts(host):
    hosts.run_on(host, __file__)
