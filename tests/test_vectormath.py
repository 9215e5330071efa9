from __future__ import annotations

from itertools import pairwise

import hosts
import mpmath as mp
import numba
import numpy as np
import pytest

from jitnet import vectormath
from jitnet._jit import FLAGS
from jitnet.registers import BITS, FUSED

TRUE = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "log": mp.log,
    "log1p": mp.log1p,
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "erf": mp.erf,
    "normal_cdf": lambda x: mp.erfc(max(min(-x / mp.sqrt(2), 1000), -1000)) / 2,
}
DTYPES = ("float32", "float64")
INF, NAN = float("inf"), float("nan")
TANH_TOP = 9.3125  # of float32


@numba.njit(fastmath=FLAGS)  # as the kernels are; "reassoc" would break every range reduction that it reached
def call(f, x, out):
    f(x, out)


def run(name: str, x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, 7.0)
    call(getattr(vectormath, f"{name}_array"), x, y)
    return y


def errors_in_ulp(name: str, x: np.ndarray) -> np.ndarray:
    """|y - f(x)| over the spacing of the dtype at f(x); inf counts as the number after the largest."""
    digits, lowest, top = {"float32": (24, -125, 128), "float64": (53, -1021, 1024)}[x.dtype.name]
    errors = []
    with mp.workprec(140):
        for a, y in zip(x.tolist(), run(name, x).tolist(), strict=True):
            true = TRUE[name](mp.mpf(a))
            limit = mp.mpf(2) ** top
            true, y = min(max(true, -limit), limit), min(max(mp.mpf(y), -limit), limit)
            spacing = mp.mpf(2) ** (max(mp.frexp(abs(true))[1], lowest) - digits)
            errors.append(float(abs(y - true) / spacing))
    return np.array(errors)


def samples(name: str, dtype: str) -> np.ndarray:
    """Numbers dense where the formulas change, of every size, subnormal ones, and beside every threshold."""
    rng = np.random.default_rng(3)
    about = np.finfo(dtype)
    top, bottom = np.log(float(about.max)), np.log(float(about.smallest_subnormal))
    x = np.concatenate(
        [
            rng.uniform(bottom - 1, top + 1, 500),
            rng.uniform(-30, 30, 500),
            rng.uniform(-6, 6, 500),
            rng.uniform(-1.5, 1.5, 1000),
            rng.uniform(-0.6, 0.6, 1000),
            rng.uniform(0.24, 0.256, 3000 if name == "tanh" else 0),  # where its rounding errors count most
            rng.choice([-1, 1], 500) * np.exp(rng.uniform(bottom, top, 500)),
            np.arange(-40, 41) * np.log(2) / 4,
        ]
    )
    edges = [top, bottom, bottom - np.log(2), np.log(float(about.tiny)), 1.0, -1.0, 0.0]  # of exp; where erf changes
    edges += [
        0.5**0.5,
        2**0.5,
        0.5**0.5 - 1,
        2**0.5 - 1,
        9.01,
        19.06,
        4.0,
        6.0,
        -17.33,
        -37.43,
    ]  # of log, tanh, erf, expm1
    edges += [float(each) for each in (about.smallest_subnormal, about.tiny, about.eps)]
    near = np.array(edges + [-each for each in edges], dtype)
    near = np.concatenate([near, np.nextafter(near, near + 1), np.nextafter(near, near - 1), [about.max, about.min]])
    x = np.concatenate([x.astype(dtype), near.astype(dtype)])
    if name == "log":
        return np.abs(x[x != 0])
    return x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUE)
def test_at_most_two_ulp(name, dtype):
    """Four for normal_cdf, which multiplies and divides what the others add."""
    x = samples(name, dtype)
    assert x.size > 1500
    errors = errors_in_ulp(name, x)
    assert errors.max() <= (4 if name == "normal_cdf" else 2), (x[errors.argmax()], errors.max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "x", "want"),
    [
        ("exp", [0.0, -0.0, INF, -INF, 1e4, -1e4, NAN], [1.0, 1.0, INF, 0.0, INF, 0.0, NAN]),
        ("expm1", [0.0, -0.0, INF, -INF, 1e4, -1e4, NAN], [0.0, -0.0, INF, -1.0, INF, -1.0, NAN]),
        ("tanh", [0.0, -0.0, INF, -INF, 1e30, -1e30, NAN], [0.0, -0.0, 1.0, -1.0, 1.0, -1.0, NAN]),
        ("sigmoid", [0.0, -0.0, INF, -INF, 1e30, -1e30, NAN], [0.5, 0.5, 1.0, 0.0, 1.0, 0.0, NAN]),
        ("log", [1.0, 0.0, -0.0, INF, -1.0, -1e-40, -INF, NAN], [0.0, -INF, -INF, INF, NAN, NAN, NAN, NAN]),
        ("log1p", [0.0, -0.0, -1.0, INF, -1.5, -INF, NAN], [0.0, -0.0, -INF, INF, NAN, NAN, NAN]),
        ("softplus", [INF, -INF, 1e30, -1e30, NAN], [INF, 0.0, 1e30, 0.0, NAN]),
        ("erf", [0.0, -0.0, INF, -INF, 1e30, -1e30, NAN], [0.0, -0.0, 1.0, -1.0, 1.0, -1.0, NAN]),
        ("normal_cdf", [0.0, -0.0, INF, -INF, 1e30, -1e30, NAN], [0.5, 0.5, 1.0, 0.0, 1.0, 0.0, NAN]),
    ],
)
def test_special_values(name, dtype, x, want):
    y, want = run(name, np.array(x, dtype)), np.array(want, dtype)
    np.testing.assert_array_equal(y, want)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(y[numbers]), np.signbit(want[numbers]))


rounded_down = vectormath.over_array(vectormath.round_down)


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_down(dtype):
    """The whole number below or at x; where products are not fused, of a whole number perhaps the one below it."""
    x = np.concatenate([np.linspace(-40, 40, 1001), np.arange(-40, 40), np.arange(-40, 40) + 0.5]).astype(dtype)
    k = np.empty_like(x)
    call(rounded_down, x, k)
    np.testing.assert_array_equal(k, np.round(k))
    if FUSED:
        np.testing.assert_array_equal(k, np.floor(x))
    assert (np.abs(k - (x - 0.5)) <= 0.5).all()
    call(rounded_down, np.full(3, NAN, dtype), k[:3])
    assert np.isnan(k[:3]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "tanh", "log1p"])
def test_subnormal_numbers_are_their_own_images(name, dtype):
    x = np.array([1, 2, 3, 1000, -1, -5], dtype) * np.finfo(dtype).smallest_subnormal
    np.testing.assert_array_equal(run(name, x), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 3, 17, 65])
def test_any_length_and_nothing_behind_it(dtype, size):
    memory = np.linspace(-3, 3, 200).astype(dtype)
    whole = run("tanh", memory)
    x, y = memory.copy(), np.full(200, 7, dtype)
    x[50 + size :] = NAN
    call(vectormath.tanh_array, x[50 : 50 + size], y[50 : 50 + size])
    np.testing.assert_array_equal(y[50 : 50 + size], whole[50 : 50 + size])  # the same bits in every lane and place
    assert (y[:50] == 7).all()
    assert (y[50 + size :] == 7).all()
    call(vectormath.tanh_array, memory, memory)
    np.testing.assert_array_equal(memory, whole)


def test_kernels_that_use_them_are_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    tanh_array, exp_array = vectormath.tanh_array, vectormath.exp_array

    def kernel(x):
        tanh_array(x, x)
        exp_array(x, x)

    x = np.zeros(3)
    cached = numba.njit(cache=True)(kernel)
    cached(x)
    np.testing.assert_array_equal(x, np.ones(3))
    assert list(tmp_path.rglob("*.nbc"))


# --- where the coefficients come from -------------------------------------------------------------------------------


def minimax(f, low, high, degree, weight, points=400):
    """The polynomial p whose weight(x) (p(x) - f(x)) has the least maximum on [low, high], by Remez's exchange.

    At degree + 2 places the error is made to have one size and alternating signs; then the places move to the extremes.
    """
    low, high = mp.mpf(low), mp.mpf(high)
    x = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * i / points) for i in range(points + 1)]
    y, w = [f(a) for a in x], [mp.mpf(weight(a)) for a in x]
    n = degree + 2
    places = [round(i * points / (n - 1)) for i in range(n)]
    while True:
        matrix, right = mp.matrix(n, n), mp.matrix(n, 1)
        for row, i in enumerate(places):
            for power in range(degree + 1):
                matrix[row, power] = x[i] ** power
            matrix[row, degree + 1] = (-1) ** row / w[i]
            right[row] = y[i]
        coefficients = list(mp.lu_solve(matrix, right))[:-1]
        errors = [c * (mp.polyval(coefficients[::-1], a) - b) for a, b, c in zip(x, y, w, strict=True)]
        extremes: list[int] = []
        for i, error in enumerate(errors):
            if not extremes or (error > 0) != (errors[extremes[-1]] > 0):
                extremes.append(i)
            elif abs(error) > abs(errors[extremes[-1]]):
                extremes[-1] = i
        while len(extremes) > n:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if extremes == places or len(extremes) < n:
            return coefficients
        places = extremes


def exp_tail(r):
    return 1 / mp.mpf(2) + r / 6 if abs(r) < 1e-20 else (mp.exp(r) - 1 - r) / r**2


def log_tail(z):
    s = mp.sqrt(z)
    return 2 / mp.mpf(3) if z < 1e-30 else (mp.log((1 + s) / (1 - s)) - 2 * s) / s**3


def tanh_tail(r):
    return 2 / mp.mpf(3) + r / 3 if r < 1e-18 else ((mp.exp(2 * r) - 1) / 2 - r - r**2) / r**3


def erf_near(z):
    return 2 / mp.sqrt(mp.pi) - 1 if z < 1e-30 else mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1


def normal_tail(q):
    a = 4 * (1 + q) / (1 - q)
    return (1 + a) * mp.exp(a * a / 2) * mp.erfc(a / mp.sqrt(2)) / 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_coefficients_are_minimax_fits(dtype):
    wide = dtype == "float64"
    with mp.workprec(200):
        a = mp.log(2) / 2 * mp.mpf("1.0001")
        s2 = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.0001")
        fits = {
            # relative to e^r - 1, which is about r
            vectormath.EXP_TAIL: (exp_tail, -a, a, (4, 9), lambda r: max(abs(r), a / 8)),
            vectormath.LOG_TAIL: (log_tail, 0, s2, (2, 6), lambda z: z + mp.mpf(10) ** -6),
            vectormath.TANH_TAIL: (tanh_tail, 0, a, (4, 8), lambda r: r**2 + mp.mpf(10) ** -6),
            vectormath.ERF_NEAR: (erf_near, 0, 1, (6, 11), lambda z: 1 / (erf_near(z) + 1)),
            # absolute in ln erfc is relative in erfc; relative to erf it counts less
            vectormath.ERF_FAR: (
                lambda b: mp.log(mp.erfc(b)), 1, 6 if wide else 4, (6, 17), lambda b: mp.erfc(b) / mp.erf(b)
            ),
            vectormath.NORMAL_TAIL: (
                normal_tail, -1, mp.mpf(35) / 43 if wide else mp.mpf(11) / 19, (9, 21), lambda q: 1 / normal_tail(q)
            ),
        }  # fmt: skip
        for polynomial, (f, low, high, degrees, weight) in fits.items():
            fitted = minimax(f, low, high, degrees[wide], weight)
            want = np.array([float(c) for c in fitted]).astype(dtype)
            np.testing.assert_array_equal(np.array(polynomial.coefficients[wide], dtype), want)


def piece_edges():
    """Where TANH_PIECES meet: a quarter of an octave of a + PIECES_START each."""
    starts = [2.0**octave * (1 + quarter / 4) for octave in range(-1, 4) for quarter in range(4)]
    return [start - vectormath.PIECES_START for start in starts if start >= vectormath.PIECES_START][:17]


def middle_of_piece(low, high):
    """The float32 c nearest to the middle whose tanh is a float32 to a hundredth of its last place."""
    middle = np.float32(float(mp.tanh((mp.mpf(low) + high) / 2)))
    for steps in range(1000):
        for tanh_c in (middle - steps * np.spacing(middle), middle + steps * np.spacing(middle)):
            c = np.float32(float(mp.atanh(mp.mpf(float(tanh_c)))))
            if abs(mp.tanh(mp.mpf(float(c))) - mp.mpf(float(tanh_c))) < mp.mpf(float(np.spacing(middle))) / 100:
                return c
    raise AssertionError(f"no such number in [{low}, {high}]")


def tanh_piece(low, high, top):
    """A row of TANH_PIECES: what tanh is worth at c alone, and a minimax fit of its rise, relative to tanh."""
    c = mp.mpf(0) if low == 0 else mp.mpf(float(middle_of_piece(low, high)))
    tanh_c, little = mp.tanh(c), mp.mpf(high - low) / 16
    rise = minimax(
        lambda y: 1 - tanh_c**2 if abs(y) < 1e-30 else (mp.tanh(c + y) - tanh_c) / y,
        low - c, min(high, top) - c, 4, lambda y: max(abs(y), little) / max(mp.tanh(c + y), little),
    )  # fmt: skip
    return [c, tanh_c, *rise]


def test_pieces_of_tanh_are_minimax_fits():
    edges = piece_edges()
    assert len(edges) == 17
    assert edges[0] == 0.0
    with mp.workprec(200):
        fits = [tanh_piece(*ends, TANH_TOP) for ends in pairwise(edges)]
    want = np.array([[float(number) for number in row] for row in fits], np.float32)
    np.testing.assert_array_equal(np.array(vectormath.TANH_PIECES, np.float32), want)


def test_tanh_where_its_pieces_meet():
    """All float32 within 64 steps of an edge; and it is 1 from TANH_TOP on, and before it."""
    x = np.concatenate([(np.float32(edge).view(np.int32) + np.arange(-64, 65)) for edge in piece_edges()[1:]])
    x = x.astype(np.int32).view(np.float32)
    assert errors_in_ulp("tanh", x).max() <= (1.3 if BITS == 512 else 1.8)
    assert (np.abs(run("tanh", x)) <= 1).all()
    np.testing.assert_array_equal(run("tanh", np.float32([9.02, TANH_TOP, TANH_TOP + 1e-3, 9.374, 9.376, 16.0])), 1.0)


# --- the same on other hosts ----------------------------------------------------------------------------------------


def test_registers_are_what_the_host_has():
    hosts.assert_registers_are_as_told()


@hosts.has_other_hosts
@pytest.mark.parametrize("host", ["avx2", "generic"])
def test_other_hosts(host):
    hosts.run_on(host, __file__, but="(other_hosts or coefficients or fits)")
