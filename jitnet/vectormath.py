"""exp, expm1, tanh, sigmoid, log, log1p, softplus, erf, normal_cdf on vector registers, without branches.

Numba has had no vector mathematics since 0.62: `math.exp` in a loop is a library call an element. These functions take
a `registers.Vector` of float32 or float64 and return one. Each formula stands once for both dtypes; only constants and
the number of coefficients differ. They hold on every host: nothing needs a fused product, which some hosts lack.

Largest error found, in units of the last place of the true value, on any host (float32: every 11th of all 2^32 inputs,
every 23rd without fused products; float64: 100,000 random ones or more; normal_cdf: 30,000 random ones of either;
`tests/test_vectormath.py` takes samples on every kind of host); nanoseconds an element from L1 on one AVX-512 core
(normal_cdf: as gelu); and those of a loop over `math.*`:

                    ulp                 ns               ns, math.*
             float32 float64     float32 float64     float32 float64
    exp         1.03    0.97        0.21    0.68         5.2     7.0
    expm1       1.31    1.69        0.29    0.70          16     9.7
    tanh        1.79    1.91        0.21    0.82          14      13
    sigmoid     1.63    1.61        0.37    0.93         5.8     7.6
    log         0.83    0.82        0.37    0.89         5.5     6.4
    log1p       1.38    1.00        0.48     1.5         9.3     8.3
    softplus    1.39    1.38        0.90     2.5          13      13
    erf         1.35    1.30        0.60     2.1          13      13
    normal_cdf  3.20    2.57        0.74     2.2

(With AVX-512 tanh of float32 is in pieces, of which the time is: 1.28 ulp at most, every input from 2^-12 on looked at.
The errors are those of the formula that others take; it takes 0.31 ns.)

Zeros keep their sign, NaN stays NaN, results underflow gradually and overflow to inf where the true value does.

Coefficients are minimax fits: Remez's exchange in 200 bits, rounded to the dtype; the tests fit them anew from the
formula beside each. `k r t p s z u m e` are the letters of the range reductions and mean the same in every function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from jitnet._jit import function
from jitnet.registers import (
    BITS,
    EXPLICIT,
    FUSED,
    Vector,
    absolute,
    broadcast,
    call_llvm,
    constant,
    copy_sign,
    elementwise,
    intrinsic,
    lanes,
    load,
    load_first,
    maximum,
    minimum,
    multiply_add,
    multiply_add_code,
    select,
    store,
    store_first,
    vector_of,
)

Value = Any  # in compiled code: the value of a Vector

_MANTISSA = {32: 23, 64: 52}  # bits stored after the leading one
_BIAS = {32: 127, 64: 1023}  # of the exponent

# --- constants and polynomials that know their dtype ----------------------------------------------------------------


def per_dtype(float32: float, float64: float) -> Any:
    """A function c(x) for compiled code: the constant as a vector of x's type."""

    @intrinsic
    def value(typingctx: Any, x: Any) -> Any:
        vector = vector_of(x)
        number = float32 if vector.bits == 32 else float64
        return vector(x), lambda context, builder, signature, args: constant(vector, number)

    return value


def polynomial(float32: tuple[float, ...], float64: tuple[float, ...]) -> Any:
    """A function p(x) for compiled code: c[0] + x (c[1] + x (c[2] + ...)), by Horner's rule. It has `coefficients`."""

    @intrinsic
    def value(typingctx: Any, x: Any) -> Any:
        vector = vector_of(x)
        *lower, highest = float32 if vector.bits == 32 else float64

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            total = constant(vector, highest)
            for c in reversed(lower):
                total = multiply_add_code(builder, vector, total, args[0], constant(vector, c))
            return total

        return vector(x), code

    value.coefficients = float32, float64
    return value


INF = per_dtype(float("inf"), float("inf"))
NAN = per_dtype(float("nan"), float("nan"))

LOG2_E = per_dtype(1.442695, 1.4426950408889634)
LN2 = per_dtype(0.6931472, 0.6931471805599453)
# ln 2 in two parts. The high one has 16 (42) bits, so that its product with a whole k of 8 (11) bits is exact.
LN2_HIGH = per_dtype(0.693145751953125, 0.6931471805598903)
LN2_LOW = per_dtype(1.4286068e-06, 5.497923018708371e-14)
# x + ROUND - ROUND is x rounded to a whole number: 1.5 * 2^23 (2^52) leaves no bits for a fraction.
ROUND = per_dtype(12582912.0, 6755399441055744.0)

# exp is inf above the first and 0 below the second.
EXP_TOP = per_dtype(89.0, 710.0)
EXP_BOTTOM = per_dtype(-104.0, -746.0)
# tanh is 1 above, expm1 is -1 below, erf is 1 above.
TANH_TOP = per_dtype(9.3125, 20.0)
EXPM1_BOTTOM = per_dtype(-20.0, -40.0)
ERF_TOP = per_dtype(4.0, 6.0)
# Phi(-x) and e^(-x^2 / 2) are 0 above.
NORMAL_TOP = per_dtype(15.0, 39.0)
# x + NORMAL_ROUND - NORMAL_ROUND has 12 (26) bits at most for x <= 15 (39), so that its square is exact.
NORMAL_ROUND = per_dtype(49152.0, 6442450944.0)

SMALLEST_NORMAL = per_dtype(2.0**-126, 2.0**-1022)
SUBNORMAL_BITS = per_dtype(25.0, 54.0)
SUBNORMAL_SCALE = per_dtype(2.0**25, 2.0**54)

EXP_TAIL = polynomial(  # (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2
    (0.5, 0.16666543, 0.04166628, 0.008366584, 0.0013946459),
    (
        0.5000000000000004,
        0.16666666666666685,
        0.041666666666582856,
        0.008333333333315467,
        0.0013888888930104707,
        0.0001984126990131123,
        2.480150667015169e-05,
        2.7557229366714446e-06,
        2.7625573689411877e-07,
        2.511405702720902e-08,
    ),
)
LOG_TAIL = polynomial(  # (ln((1 + s) / (1 - s)) - 2 s) / s^3 for z = s^2, |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)
    (0.66666776, 0.3997754, 0.29871842),
    (
        0.6666666666666734,
        0.39999999999414526,
        0.2857142874243524,
        0.22222198567102774,
        0.18183564696079318,
        0.153140398493373,
        0.14796068148242766,
    ),
)
TANH_TAIL = polynomial(  # ((e^2r - 1) / 2 - r - r^2) / r^3 for 0 <= r <= ln(2) / 2
    (0.666668, 0.333295, 0.13373294, 0.04253084, 0.016913159),
    (
        0.6666666666672091,
        0.3333333332921415,
        0.13333333455084476,
        0.04444442549616227,
        0.012698587278301466,
        0.003173602201631716,
        0.0007090697632475829,
        0.0001332228913440974,
        3.503419784985653e-05,
    ),
)
ERF_NEAR = polynomial(  # erf(x) / x - 1 for z = x^2, |x| <= 1
    (0.12837917, -0.37612626, 0.112835854, -0.026853813, 0.005188328, -0.00080101984, 7.8538775e-05),
    (
        0.12837916709551256,
        -0.3761263890318352,
        0.11283791670944185,
        -0.02686617064311144,
        0.005223977606118201,
        -0.0008548325929299106,
        0.00012055293576377275,
        -1.4924712290816286e-05,
        1.6447131419811136e-06,
        -1.6206312501557555e-07,
        1.3710974567312202e-08,
        -7.779456921831154e-10,
    ),
)
ERF_FAR = polynomial(  # ln(1 - erf(a)) for 1 <= a <= 4 (6)
    (-0.0003415762, -1.127089, -0.6381452, -0.103106424, 0.021837903, -0.0029476173, 0.00018637495),
    (
        -5.027884978106462e-07,
        -1.1283740900394297,
        -0.6366436256907744,
        -0.10270344578575905,
        0.018990190110727723,
        0.00041061320665646044,
        -0.001915928951813446,
        0.000770632458832849,
        -0.00013504417410157549,
        -2.0269427038656503e-05,
        2.282345898586717e-05,
        -8.66741749194022e-06,
        2.1357276064135847e-06,
        -3.733099739586899e-07,
        4.64235492588101e-08,
        -3.934294622261367e-09,
        2.0449682659892318e-10,
        -4.928601419272325e-12,
    ),
)

NORMAL_TAIL = polynomial(  # (1 + a) e^(a^2 / 2) Phi(-a) for q = (a - 4) / (a + 4), 0 <= a <= 15 (39)
    (
        0.47205323,
        -0.09670337,
        0.013998694,
        0.02859707,
        -0.03218579,
        0.017968236,
        -0.0050462,
        -0.00041257174,
        0.0007148079,
        8.535431e-05,
    ),
    (
        0.47205320650984467,
        -0.09670347732652558,
        0.013999634724431368,
        0.028600364053525364,
        -0.03219783742840535,
        0.017936097480472393,
        -0.0050023785842836024,
        -0.000285623109035902,
        0.0006948970303414016,
        -9.44301734930245e-05,
        -8.785270270761077e-05,
        2.124972217599982e-05,
        1.3624905507125686e-05,
        -3.4314774334627526e-06,
        -2.607708595165186e-06,
        4.038783637037698e-07,
        5.430878619673211e-07,
        6.804047810690359e-10,
        -1.014481556497828e-07,
        -1.7453761146251235e-08,
        1.1823118914317027e-08,
        3.934264949403038e-09,
    ),
)

PIECES_START = 0.625
TANH_PIECES = (  # c about the middle of a piece, where tanh c is nearly a float32; tanh c; (tanh(c + y) - tanh c) / y
    (0.0, 0.0, 1.0, 4.443659e-07, -0.33335948, 0.00051369134, 0.12984104),
    (0.18750022, 0.18533342, 0.9656515, -0.1789671, -0.2887178, 0.11284151, 0.09716397),
    (0.31250098, 0.30271062, 0.90836626, -0.27497163, -0.21955392, 0.15772419, 0.04596511),
    (0.4999994, 0.4621167, 0.78644824, -0.36342555, -0.09422304, 0.16358422, -0.025636757),
    (0.7499996, 0.6351487, 0.5965861, -0.3789208, 0.041803457, 0.099727966, -0.06338637),
    (0.9999986, 0.7615936, 0.41997522, -0.3198524, 0.103605255, 0.028121568, -0.0463189),
    (1.2499983, 0.8482832, 0.28041565, -0.23787348, 0.10831283, -0.012257424, -0.019376224),
    (1.6249952, 0.92534554, 0.1437355, -0.13301216, 0.07517776, -0.024855563, 0.0011001886),
    (2.1249936, 0.9718724, 0.055464048, -0.053903077, 0.03390104, -0.015025998, 0.0044522975),
    (2.6249895, 0.98955953, 0.02077194, -0.020553995, 0.013416029, -0.0064801467, 0.0023597262),
    (3.1250038, 0.99614656, 0.007692034, -0.0076618805, 0.0050685345, -0.0025215251, 0.0009759743),
    (3.8750033, 0.9991389, 0.0017215234, -0.0017179376, 0.0011432639, -0.0005967754, 0.00023672721),
    (4.8749824, 0.9998834, 0.00023316649, -0.00023284699, 0.0001551835, -8.132284e-05, 3.2477245e-05),
    (5.8744707, 0.9999842, 3.159111e-05, -3.1550913e-05, 2.1032665e-05, -1.1027274e-05, 4.4033964e-06),
    (6.8725796, 0.99999785, 4.2916313e-06, -4.286252e-06, 2.8579268e-06, -1.4981903e-06, 5.960809e-07),
    (8.317766, 0.9999999, 2.3857658e-07, -2.3405232e-07, 1.574585e-07, -9.425063e-08, 3.5778374e-08),
)

# --- exponents ------------------------------------------------------------------------------------------------------


def _whole(vector: Vector, value: int) -> ir.Constant:
    return ir.Constant(vector.llvm_bits, [value] * vector.lanes)


def _power_of_two(builder: Any, vector: Vector, k: Any) -> Any:
    mantissa = _MANTISSA[vector.bits]
    low_bits = constant(vector, 1.5 * 2.0**mantissa + _BIAS[vector.bits])  # their sum with k ends in k + bias
    biased = builder.bitcast(builder.fadd(k, low_bits, flags=EXPLICIT), vector.llvm_bits)
    return builder.bitcast(builder.shl(biased, _whole(vector, mantissa)), vector.llvm)


@intrinsic
def power_of_two(typingctx: Any, k: Any) -> Any:
    """2^k for whole k whose 2^k is a normal number: k + bias, shifted to where the exponent is."""
    vector = vector_of(k)
    return vector(k), elementwise(vector, lambda builder, k: _power_of_two(builder, vector, k))


@intrinsic
def scale(typingctx: Any, x: Any, k: Any) -> Any:
    """x * 2^k for whole k with |k| < twice the exponent's bias: overflows to inf, underflows gradually, rounds once.

    AVX-512 has an instruction for it; elsewhere x * 2^h * 2^(k - h) with h about k / 2, as 2^k may not be a number.
    """
    vector = vector_of(x, k)

    def in_one(builder: Any, x: Any, k: Any) -> Any:
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if vector.bits == 32 else 'd'}.512"
        all_lanes, current_rounding = ir.Constant(ir.IntType(vector.lanes), -1), ir.Constant(ir.IntType(32), 4)
        return call_llvm(builder, name, vector.llvm, x, k, constant(vector, 0.0), all_lanes, current_rounding)

    def in_two(builder: Any, x: Any, k: Any) -> Any:
        shift = constant(vector, 1.5 * 2.0 ** _MANTISSA[vector.bits])
        half = builder.fmul(k, constant(vector, 0.5), flags=EXPLICIT)
        half = builder.fsub(builder.fadd(half, shift, flags=EXPLICIT), shift, flags=EXPLICIT)
        for exponent in (half, builder.fsub(k, half, flags=EXPLICIT)):
            x = builder.fmul(x, _power_of_two(builder, vector, exponent), flags=EXPLICIT)
        return x

    return vector(x, k), elementwise(vector, in_one if BITS == 512 else in_two)


@intrinsic
def split_exponent(typingctx: Any, x: Any) -> Any:
    """(m, e) with x = m 2^e and m from sqrt(1/2) to sqrt(2), for normal x > 0."""
    vector = vector_of(x)
    mantissa, bias = _MANTISSA[vector.bits], _BIAS[vector.bits]
    root_half = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}[vector.bits]  # the bits of sqrt(1/2)
    to_one = _whole(vector, (bias << mantissa) - root_half)  # an exponent steps at sqrt(1/2), not at 1
    low_bits = _whole(vector, (bias + mantissa) << mantissa)  # 2^mantissa: a whole number or-ed in is added to it

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.add(builder.bitcast(args[0], vector.llvm_bits), to_one)
        m = builder.add(builder.and_(bits, _whole(vector, (1 << mantissa) - 1)), _whole(vector, root_half))
        e = builder.bitcast(builder.or_(builder.lshr(bits, _whole(vector, mantissa)), low_bits), vector.llvm)
        e = builder.fsub(e, constant(vector, 2.0**mantissa + bias), flags=EXPLICIT)
        return context.make_tuple(builder, signature.return_type, (builder.bitcast(m, vector.llvm), e))

    pair: Any = types.UniTuple
    return pair(vector, 2)(x), code


@intrinsic
def round_down(typingctx: Any, x: Any) -> Any:
    """The largest whole number not above x; where products are not fused, and such hosts may have no instruction for
    this, one within 1/2 of x - 1/2, for |x| up to 2^22 (2^51).
    """
    vector = vector_of(x)

    def in_one(builder: Any, x: Any) -> Any:
        return call_llvm(builder, f"llvm.floor.{vector.suffix}", vector.llvm, x)

    def in_three(builder: Any, x: Any) -> Any:
        shift = constant(vector, 1.5 * 2.0 ** _MANTISSA[vector.bits])  # ROUND
        lower = builder.fsub(x, constant(vector, 0.5), flags=EXPLICIT)
        return builder.fsub(builder.fadd(lower, shift, flags=EXPLICIT), shift, flags=EXPLICIT)

    return vector(x), elementwise(vector, in_one if FUSED else in_three)


# --- exp and what is made of it -------------------------------------------------------------------------------------


@function
def _reduce(x: Value) -> tuple[Value, Value, Value]:
    """(k, r, t) with e^x = 2^k (1 + r + t): k = round(x / ln 2), r = x - k ln 2, t = e^r - 1 - r."""
    k = multiply_add(x, LOG2_E(x), ROUND(x)) - ROUND(x)
    r = multiply_add(-k, LN2_HIGH(x), x) - k * LN2_LOW(x)
    return k, r, r * r * EXP_TAIL(r)


@function
def exp(x: Value) -> Value:
    """e^x = 2^k (1 + (r + t)), x held within what is 0 and inf anyway."""
    k, r, t = _reduce(maximum(minimum(x, EXP_TOP(x)), EXP_BOTTOM(x)))
    return scale(1.0 + (r + t), k)


@function
def expm1(x: Value) -> Value:
    """e^x - 1 = 2^k ((1 - 2^-k) + r + t): nothing cancels, as 1 - 2^-k is 0 or at least 1/2 away from it."""
    k, r, t = _reduce(maximum(minimum(x, EXP_TOP(x)), EXPM1_BOTTOM(x)))
    one_less = 1.0 - power_of_two(-minimum(k, 64.0))  # from 64 on it is 1, and 2^-k need not be a normal number
    return copy_sign(scale((one_less + r) + t, k), x)


@intrinsic
def tanh_piece(typingctx: Any, a: Any, otherwise: Any) -> Any:
    """tanh a for 0 <= a <= TANH_TOP from TANH_PIECES, where a register has a lane for each; elsewhere `otherwise`.

    A piece is a quarter of an octave of a + PIECES_START: the lowest two bits of its exponent and the highest two of
    its mantissa are the lane that each coefficient is taken from. Seven such instructions, and five products.
    """
    vector = vector_of(a, otherwise)
    shift = _MANTISSA[32] - 2
    first = int(np.float32(PIECES_START).view(np.uint32)) >> shift

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if BITS != 512 or vector.bits != 32:
            return args[1]
        a = args[0]
        moved = builder.fadd(a, constant(vector, PIECES_START), flags=EXPLICIT)
        number = builder.lshr(builder.bitcast(moved, vector.llvm_bits), _whole(vector, shift))
        rows = [TANH_PIECES[(lane - first) % vector.lanes] for lane in range(vector.lanes)]
        c, *lower, total = (
            call_llvm(builder, "llvm.x86.avx512.permvar.sf.512", vector.llvm, ir.Constant(vector.llvm, column), number)
            for column in map(list, zip(*rows, strict=True))
        )
        y = builder.fsub(a, c, flags=EXPLICIT)
        for coefficient in reversed(lower):
            total = multiply_add_code(builder, vector, total, y, coefficient)
        return total

    return vector(a, otherwise), code


@function
def tanh(x: Value) -> Value:
    """y = u / (u + 1) with u = (e^2a - 1) / 2 = 2^k (r + c) + (2^k - 1) / 2 for a = |x|, and r + c = (e^2r - 1) / 2.

    k is 2 a / ln 2 rounded down, so that nothing cancels; one product with ln 2 is enough for r, as u counts less with
    every k. Where k is 0, y = u - u y = r + (c - u y): the rounding errors of two sums and a quotient count less there.
    Sixteen pieces take two thirds of the time, where there is an instruction that finds each lane's.
    """
    a = minimum(absolute(x), TANH_TOP(x))
    k = round_down(a * (2.0 * LOG2_E(x)))
    r = multiply_add(-k, 0.5 * LN2(x), a)
    square = r * r
    c = multiply_add(square, r * TANH_TAIL(r), square)
    p = power_of_two(k)
    u = multiply_add(p, r + c, multiply_add(p, 0.5, -0.5))
    y = u / (u + 1.0)
    return copy_sign(tanh_piece(a, select(k < 0.5, r + multiply_add(-u, y, c), y)), x)


@function
def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x): for x < 0 it is p / (p + 1 + r + t) with p = 2^-k, e^|x| = (1 + r + t) / p, for others 1 - that.

    The sum is made with the rounding errors of its first two steps put back.
    """
    k, r, t = _reduce(minimum(absolute(x), -EXP_BOTTOM(x)))
    p = scale(1.0, -k)
    first = 1.0 + p
    second = first + r
    y = p / (second + (((first - second) + r) + (((1.0 - first) + p) + t)))
    return select(x < 0.0, y, 1.0 - y)


# --- log and what is made of it -------------------------------------------------------------------------------------


@function
def _log(u: Value, e: Value, low: Value) -> Value:
    """ln(1 + u) + e ln 2 + low, for 1 + u from sqrt(1/2) to sqrt(2).

    With s = u / (2 + u), ln(1 + u) = ln((1 + s) / (1 - s)) = 2 s + s^3 P(s^2), and 2 s = u - s u = u - u^2/2 + s u^2/2:
    u comes in without a rounding error, and what is subtracted from it is small.
    """
    s = u / (2.0 + u)
    z = s * s
    half_square = 0.5 * u * u
    small = multiply_add(s, multiply_add(z, LOG_TAIL(z), half_square), multiply_add(e, LN2_LOW(e), low))
    return multiply_add(e, LN2_HIGH(e), u - (half_square - small))


@function
def log(x: Value) -> Value:
    """ln x = e ln 2 + ln m, x = m 2^e; subnormal numbers are made normal first. ln 0 = -inf; NaN below."""
    tiny = x < SMALLEST_NORMAL(x)
    m, e = split_exponent(select(tiny, x * SUBNORMAL_SCALE(x), x))
    y = _log(m - 1.0, select(tiny, e - SUBNORMAL_BITS(x), e), 0.0)
    return select(x > 0.0, select(x < INF(x), y, x), select(x == 0.0, -INF(x), NAN(x)))


@function
def _log1p(x: Value, low: Value) -> Value:
    """ln(1 + x + low) for finite x > -1 and low at most an ulp of x."""
    w = 1.0 + x
    v = w - 1.0
    lost = ((1.0 - (w - v)) + (x - v)) + low  # what the sum 1 + x lost, whichever of the two is larger
    m, e = split_exponent(w)
    near = e == 0.0
    far_u = multiply_add(lost, power_of_two(-minimum(e, 64.0)), m - 1.0)
    return _log(select(near, x, far_u), e, select(near, low, 0.0))


@function
def log1p(x: Value) -> Value:
    """ln(1 + x): where 1 + x needs no power of 2, _log takes x itself. ln(1 - 1) = -inf; NaN below."""
    y = copy_sign(_log1p(x, broadcast(0.0, x)), x)
    return select(x > -1.0, select(x < INF(x), y, x), select(x == -1.0, -INF(x), NAN(x)))


@function
def softplus(x: Value) -> Value:
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|), where e^-|x| comes as a sum of two numbers."""
    k, r, t = _reduce(maximum(-absolute(x), EXP_BOTTOM(x)))
    first = 1.0 + r
    rest = ((1.0 - first) + r) + t
    high = first + rest
    low = (first - high) + rest
    return maximum(x, 0.0) + _log1p(scale(high, k), scale(low, k))


# --- erf ------------------------------------------------------------------------------------------------------------


@function
def erf(x: Value) -> Value:
    """x + x P(x^2) for |x| < 1, else 1 - e^Q(|x|) with the sign of x; Q is about -x^2, and smooth."""
    a = minimum(absolute(x), ERF_TOP(x))
    near = multiply_add(x, ERF_NEAR(x * x), x)
    k, r, t = _reduce(ERF_FAR(a))
    far = 1.0 - (1.0 + (r + t)) * power_of_two(k)
    return select(a < 1.0, near, copy_sign(far, x))


@function
def normal(x: Value) -> tuple[Value, Value]:
    """(Phi(x), e^(-x^2 / 2)), the normal distribution function, to a few ulp of itself in its far left tail too.

    For a = |x|, Phi(-a) = e^(-a^2 / 2) P(q) / (1 + a). An error of a^2 would be one of e^-a^2, many times that of a:
    a^2 / 2 is s^2 / 2 + (a - s)(a + s) / 2, where s is a rounded so that its square is exact.
    """
    a = minimum(absolute(x), NORMAL_TOP(x))
    s = (a + NORMAL_ROUND(x)) - NORMAL_ROUND(x)
    square, rest = 0.5 * s * s, 0.5 * (a - s) * (a + s)
    k = multiply_add(square + rest, -LOG2_E(x), ROUND(x)) - ROUND(x)
    high, low = multiply_add(-k, LN2_HIGH(x), -square), k * LN2_LOW(x)  # high is exact
    r = high - (rest + low)
    m = r + r * r * EXP_TAIL(r)  # e^(-a^2 / 2) = (1 + m) 2^k
    P = NORMAL_TAIL((a - 4.0) / (a + 4.0))
    tail = scale(multiply_add(m, P, P) / (1.0 + a), k)
    return select(x < 0.0, tail, 1.0 - tail), scale(1.0 + m, k)


@function
def normal_cdf(x: Value) -> Value:
    """Phi(x) = erfc(-x / sqrt(2)) / 2."""
    return normal(x)[0]


# --- arrays ---------------------------------------------------------------------------------------------------------


def over_array(f: Callable[[Value], Value]) -> Any:
    """A function (x, out) for kernels: out[i] = f(x[i]) for every element.

    x and out are C-contiguous, of one dtype and size; they may be the same array. One such function for each f: Numba
    caches no kernel that hands a function over as an argument.
    """

    @function
    def each(x: Any, out: Any) -> None:
        width = lanes(x)
        rest = x.size % width
        whole = x.size - rest
        for at in range(0, whole, width):
            store(f(load(x, at)), out, at)
        if rest > 0:
            store_first(f(load_first(x, whole, rest)), out, whole, rest)

    return each


exp_array = over_array(exp)
expm1_array = over_array(expm1)
tanh_array = over_array(tanh)
sigmoid_array = over_array(sigmoid)
log_array = over_array(log)
log1p_array = over_array(log1p)
softplus_array = over_array(softplus)
erf_array = over_array(erf)
normal_cdf_array = over_array(normal_cdf)
