"""Optimisers: against PyTorch's, against hand-computed steps, compiled against arrays, and what they refuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from jitnet.errors import InputError
from jitnet.optimizers import (
    COEFFICIENTS,
    FORMULAS,
    GD,
    LBFGS,
    OPTIMIZERS,
    SGD,
    Adadelta,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    DeltaBarDelta,
    Momentum,
    NAdam,
    Nesterov,
    RMSProp,
    Rprop,
    UpdateRule,
    as_optimizer,
    rates,
    update_arrays,
)
from jitnet.schedules import Cosine, ReduceOnPlateau

RULES = [rule for rule in dict.fromkeys(OPTIMIZERS.values()) if issubclass(rule, UpdateRule)]
"""Every optimiser with a formula, once."""

SIZE, STEPS = 50, 100


def gradient(theta: NDArray[np.float64], t: int) -> NDArray[np.float64]:
    """Of sum(sin(3 theta) + theta^2 / 10) + sum(theta_i theta_i+1) / 5, with noise; about a third of it exactly 0.

    Parameters 0..5 never see a gradient, the others miss one step in five.
    """
    rng = np.random.default_rng((7, t))
    g = 3 * np.cos(3 * theta) + theta / 5 + (np.roll(theta, 1) + np.roll(theta, -1)) / 5
    g += rng.standard_normal(SIZE)
    g[rng.random(SIZE) < 0.2] = 0
    g[:6] = 0
    return g


def start() -> NDArray[np.float64]:
    return np.random.default_rng(3).uniform(-2, 2, SIZE)


def trajectory(rule: UpdateRule, dtype: str = "float64") -> NDArray[Any]:
    """theta after each of the steps, (STEPS, SIZE)."""
    t = np.arange(STEPS)
    c = rule.coefficients(t, rates(rule, t)).astype(dtype)
    theta, state, path = start().astype(dtype), rule.initial_state(SIZE, dtype), []
    for k in range(STEPS):
        update_arrays(rule.code, theta, gradient(theta, k).astype(dtype), state, c[k])
        path.append(theta.copy())
    return np.array(path)


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch in float64: it keeps NAdam's momentum product in the default dtype."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


# ours, the name of PyTorch's, its settings; the defaults of both are left as they are where nothing is said
PAIRS = [
    (SGD(), "SGD", {"lr": 0.01}),
    (Momentum(lr=0.02), "SGD", {"lr": 0.02, "momentum": 0.9}),
    (Momentum(lr=0.02, beta=0.5), "SGD", {"lr": 0.02, "momentum": 0.5}),
    (Nesterov(lr=0.02), "SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    (AdaGrad(), "Adagrad", {}),
    (AdaGrad(lr=0.1, eps=1e-3), "Adagrad", {"lr": 0.1, "eps": 1e-3}),
    (RMSProp(), "RMSprop", {}),
    (RMSProp(momentum=0.7), "RMSprop", {"momentum": 0.7}),
    (RMSProp(centered=True), "RMSprop", {"centered": True}),
    (
        RMSProp(lr=0.02, alpha=0.9, eps=1e-6, momentum=0.8, centered=True),
        "RMSprop",
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-6, "momentum": 0.8, "centered": True},
    ),
    (Adadelta(), "Adadelta", {}),
    (Adadelta(lr=0.5, rho=0.7, eps=1e-4), "Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-4}),
    (Adam(), "Adam", {}),
    (Adam(lr=0.03, beta1=0.4, beta2=0.7, eps=1e-3), "Adam", {"lr": 0.03, "betas": (0.4, 0.7), "eps": 1e-3}),
    (Adam(beta1=0, beta2=0), "Adam", {"betas": (0.0, 0.0)}),
    (AdamW(), "AdamW", {}),
    (NAdam(), "NAdam", {"decoupled_weight_decay": True}),
    (
        NAdam(lr=0.03, beta1=0.5, beta2=0.8, momentum_decay=0.1),
        "NAdam",
        {"lr": 0.03, "betas": (0.5, 0.8), "momentum_decay": 0.1, "decoupled_weight_decay": True},
    ),
    (AMSGrad(), "Adam", {"amsgrad": True}),
    (AMSGrad(lr=0.03, beta2=0.7), "Adam", {"lr": 0.03, "betas": (0.9, 0.7), "amsgrad": True}),
    (Rprop(), "Rprop", {}),
    (
        Rprop(lr=0.1, eta_minus=0.3, eta_plus=1.5, step_min=1e-3, step_max=0.2),
        "Rprop",
        {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)},
    ),
]


def torch_trajectory(
    torch: Any, name: str, settings: dict[str, Any], decay: float, eta: Callable[[int], float] | None
) -> NDArray[np.float64]:
    """theta after each step of PyTorch's optimiser; where it has no decoupled weight decay, theta is shrunk by hand."""
    theta = torch.tensor(start(), requires_grad=True)
    decoupled = name == "AdamW" or "decoupled_weight_decay" in settings
    if decoupled and decay:
        settings = {**settings, "weight_decay": decay}
    rule = getattr(torch.optim, name)([theta], **settings)
    path = []
    for t in range(STEPS):
        group = rule.param_groups[0]
        group["lr"] = eta(t) if eta else group["lr"]
        theta.grad = torch.tensor(gradient(theta.detach().numpy(), t))
        if decay and not decoupled:
            with torch.no_grad():
                theta *= 1 - group["lr"] * decay
        rule.step()
        path.append(theta.detach().numpy().copy())
    return np.array(path)


def assert_same_path(ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    """Every parameter within 1e-12 of its own size after every step, and within rounding where it crosses 0."""
    assert np.ptp(ours, axis=0)[6:].min() > 1e-3  # all parameters that see a gradient have moved
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("ours", "name", "settings"), PAIRS, ids=lambda value: str(value))
def test_hundred_steps_are_pytorchs(torch: Any, ours: UpdateRule, name: str, settings: dict[str, Any]) -> None:
    assert_same_path(trajectory(ours), torch_trajectory(torch, name, settings, 0.0, None))


@pytest.mark.parametrize(("ours", "name", "settings"), PAIRS, ids=lambda value: str(value))
def test_hundred_steps_with_decoupled_weight_decay(
    torch: Any, ours: UpdateRule, name: str, settings: dict[str, Any]
) -> None:
    own = {f.name: getattr(ours, f.name) for f in fields(ours)}
    shrunk = type(ours)(**{**own, "weight_decay": 0.1})
    assert_same_path(trajectory(shrunk), torch_trajectory(torch, name, settings, 0.1, None))


@pytest.mark.parametrize(
    ("ours", "name", "settings"),
    [
        (SGD, "SGD", {}),
        (Momentum, "SGD", {"momentum": 0.9}),
        (Nesterov, "SGD", {"momentum": 0.9, "nesterov": True}),
        (AdaGrad, "Adagrad", {}),
        (RMSProp, "RMSprop", {}),
        (Adadelta, "Adadelta", {}),
        (AdamW, "AdamW", {}),
        (NAdam, "NAdam", {"decoupled_weight_decay": True}),
        (AMSGrad, "Adam", {"amsgrad": True}),
    ],
)
def test_hundred_steps_with_a_schedule(torch: Any, ours: type[UpdateRule], name: str, settings: dict[str, Any]) -> None:
    eta = Cosine(0.05, steps=80, lr_min=0.001)
    assert_same_path(trajectory(ours(eta, weight_decay=0.05)), torch_trajectory(torch, name, settings, 0.05, eta))


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_delta_bar_delta_by_hand() -> None:
    """One parameter from 0; lr = 1/2, kappa = phi = theta = 1/4: every number below is exact in binary."""
    rule = DeltaBarDelta(lr=0.5, kappa=0.25, phi=0.25, theta=0.25)
    by_hand = [
        # g, then r; theta - r g; d = 3/4 g + 1/4 d
        (1.0, 0.5, -0.5, 0.75),  # no mean yet, r stays; 0 - 0.5; 0.75 + 0
        (1.0, 0.75, -1.25, 0.9375),  # same sign, r + 1/4; -0.5 - 0.75; 0.75 + 0.1875
        (-1.0, 0.5625, -0.6875, -0.515625),  # turned, 3/4 r; -1.25 + 0.5625; -0.75 + 0.234375
        (-2.0, 0.8125, 0.9375, -1.62890625),  # same, r + 1/4; -0.6875 + 1.625; -1.5 - 0.12890625
        (0.0, 0.8125, 0.9375, -0.4072265625),  # no slope, r stays; 0.9375 - 0; 0 - 0.4072265625
        (4.0, 0.609375, -1.5, 2.898193359375),  # turned, 3/4 r; 0.9375 - 2.4375; 3 - 0.101806640625
    ]
    theta, state = np.zeros(1), rule.initial_state(1, "float64")
    c = rule.coefficients(np.arange(6), np.full(6, 0.5))
    for k, (g, r, moved, d) in enumerate(by_hand):
        update_arrays(rule.code, theta, np.array([g]), state, c[k])
        assert (theta[0], state[0, 0], state[1, 0]) == (moved, d, r)


def test_delta_bar_delta_is_for_the_full_batch() -> None:
    assert [name for name, rule in OPTIMIZERS.items() if rule.full_batch_only] == ["delta_bar_delta", "lbfgs"]


def test_first_step_of_adam_is_the_rate() -> None:
    """Bias-corrected, the first m is g and the first v is g^2: every parameter moves by eta sign(g)."""
    theta, g = np.zeros(3), np.array([1e-3, -5.0, 200.0])
    rule = Adam(lr=0.25)
    c = rule.coefficients(np.array([0]), np.array([0.25]))
    update_arrays(rule.code, theta, g, rule.initial_state(3, "float64"), c[0])
    np.testing.assert_allclose(theta, [-0.25, 0.25, -0.25], rtol=2e-5)


def test_centred_rmsprop_survives_a_gradient_that_stands_still() -> None:
    """v - a^2 goes to 0 and rounds below it; its root must not be NaN."""
    rule = RMSProp(centered=True, alpha=0.5)
    theta, state = np.zeros(50), rule.initial_state(50, "float64")
    g = np.random.default_rng(1).standard_normal(50)
    c = rule.coefficients(np.arange(200), np.full(200, 0.01))
    below = False
    for k in range(200):
        update_arrays(rule.code, theta, g, state, c[k])
        below |= bool(np.any(state[0] - state[1] ** 2 < 0))
    assert below  # else this test tests nothing
    assert np.isfinite(theta).all()


# ---- state and coefficients ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_is_made_of(rule: type[UpdateRule]) -> None:
    instance = rule(lr=0.125)
    formula = FORMULAS[rule.code]
    assert formula.__code__.co_varnames[: formula.__code__.co_argcount][0:2] == ("theta", "g")
    assert formula.__code__.co_argcount == 2 + rule.slots + 1
    assert 0 <= rule.slots <= 3
    for dtype in ("float32", "float64"):
        state = instance.initial_state(5, dtype)
        assert state.shape == (rule.slots, 64 // np.dtype(dtype).itemsize)
        assert all(row.ctypes.data % 64 == 0 for row in state)  # rows begin where a cache line does
        assert state.dtype == dtype
        own_rates = rule in (Rprop, DeltaBarDelta)
        assert sorted(set(state.ravel())) == ([0, 0.125] if own_rates else [0] if rule.slots else [])
    c = rule(lr=0.125, weight_decay=0.5).coefficients(np.arange(4), np.array([0.1, 0.2, 0.4, 0.8]))
    assert c.shape == (4, COEFFICIENTS)
    assert c.dtype == np.float64
    np.testing.assert_array_equal(c[:, 0], [0.95, 0.9, 0.8, 0.6])


def test_coefficients_are_as_narrow_as_can_be() -> None:
    t = np.arange(3, 5)
    columns = [rule(weight_decay=0.1).coefficients(t, rates(rule(), t)) for rule in RULES]
    used = [int(np.flatnonzero(c.any(axis=0))[-1]) for c in columns]
    assert max(used) == COEFFICIENTS - 1


@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_run_has_the_same_coefficients(rule: type[UpdateRule]) -> None:
    t, eta = np.arange(1000), np.random.default_rng(0).random(1000)
    whole = rule().coefficients(t, eta)
    for first, last in [(0, 1), (1, 8), (8, 100), (100, 997), (997, 1000)]:
        np.testing.assert_array_equal(rule().coefficients(t[first:last], eta[first:last]), whole[first:last])
    assert rule().coefficients(t[:0], eta[:0]).shape == (0, COEFFICIENTS)


@pytest.mark.parametrize("beta", [0.0, 1e-300, 0.3, 0.9, 0.999, 1 - 2**-53])
def test_bias_corrections_are_the_formula_to_the_bit_also_where_the_power_underflows(beta: float) -> None:
    t = np.array([0, 1, 50, 59, 60, 400, 6700, 7100, 41_000, 10**9])
    s = t + 1.0
    np.testing.assert_array_equal(
        Adam(beta1=beta).coefficients(t, np.ones(len(t)))[:, 1], np.sqrt(1 - 0.999**s) / (1 - beta**s)
    )
    np.testing.assert_array_equal(
        Adam(beta2=beta, eps=1.0).coefficients(t, np.ones(len(t)))[:, 5], np.sqrt(1 - beta**s)
    )


@pytest.mark.parametrize("beta1", [0.0, 1e-300, 0.3, 0.9, 0.99])
def test_nadam_takes_its_momentum_product_from_the_step_alone(beta1: float) -> None:
    rule, t = NAdam(beta1=beta1), np.array([0, 1, 2, 50, 700, 5000, 10**9])
    c = rule.coefficients(t, np.ones(7))
    product, s = 1.0, 0
    for k in range(6):
        while s <= t[k]:
            s += 1
            product *= beta1 * (1 - 0.5 * 0.96 ** (s * 0.004))
        following = beta1 * (1 - 0.5 * 0.96 ** ((s + 1) * 0.004))
        root = np.sqrt(1 - 0.999**s)
        mu = beta1 * (1 - 0.5 * 0.96 ** (s * 0.004))
        np.testing.assert_allclose(
            c[k, 1:3],
            [root * (1 - mu) / (1 - product), root * following / (1 - product * following)],
            rtol=1e-12,
        )
    np.testing.assert_allclose(c[6, 1:3], [1 - beta1, beta1], rtol=1e-12)  # 0.96^(4e6) = 0, and P = 0


# ---- float32 and compiled --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_float32_stays_float32(rule: type[UpdateRule]) -> None:
    instance = rule(weight_decay=0.1)
    c = instance.coefficients(np.arange(3), np.full(3, 0.01)).astype("float32")
    state = instance.initial_state(SIZE, "float32")[:, :SIZE]
    theta = start().astype("float32")
    assert {a.dtype for a in FORMULAS[rule.code](theta, theta, *state, c[2])} == {np.dtype("float32")}
    path = trajectory(instance, "float32")
    assert np.isfinite(path).all()
    if rule not in (Rprop, DeltaBarDelta):  # a sign that rounding turns sends these two elsewhere
        np.testing.assert_allclose(path[:20], trajectory(instance)[:20], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", {rule.code: rule for rule in RULES}.values())
def test_compiled_on_scalars_as_on_arrays(rule: type[UpdateRule], dtype: str) -> None:
    """The same bits, since without fast-math flags Numba rounds as NumPy does, and the network's dtype throughout."""
    formula = FORMULAS[rule.code]
    compiled = numba.njit(error_model="numpy")(formula)
    instance = RMSProp(centered=True, momentum=0.5, weight_decay=0.1) if rule is RMSProp else rule(weight_decay=0.1)
    c = instance.coefficients(np.arange(20), np.full(20, 0.01)).astype(dtype)
    theta, state = start().astype(dtype), instance.initial_state(SIZE, dtype)
    for k in range(20):
        g = gradient(theta, k).astype(dtype)
        one_by_one = np.array([compiled(theta[p], g[p], *state[:, p], c[k]) for p in range(SIZE)], dtype)
        update_arrays(rule.code, theta, g, state, c[k])
        np.testing.assert_array_equal(one_by_one, np.vstack([theta, state[:, :SIZE]]).T)
    (signature,) = compiled.nopython_signatures
    assert set(signature.return_type) == {numba.from_dtype(np.dtype(dtype))}


def test_every_formula_has_a_rule() -> None:
    assert {rule.code for rule in RULES} == set(range(len(FORMULAS)))


# ---- names, rates, refusals ------------------------------------------------------------------------------------------


def test_optimizer_by_name_or_instance() -> None:
    assert as_optimizer("AdamW") == AdamW()
    assert as_optimizer("gd") == GD() == SGD()
    assert as_optimizer("LBFGS") == LBFGS()
    mine = Adam(lr=0.5)
    assert as_optimizer(mine) is mine
    for name, rule in OPTIMIZERS.items():
        assert type(as_optimizer(name)) is rule
    with pytest.raises(
        InputError, match=r"unknown name 'adan' \(did you mean 'adam'\?\); known: adadelta, adagrad, adam,"
    ):
        as_optimizer("adan")
    for bad in (None, 3, Adam):
        with pytest.raises(InputError, match=r"optimizer: .* a name or an optimiser such as Adam"):
            as_optimizer(bad)  # type: ignore[arg-type]


def test_defaults() -> None:
    learning_rates = {rule.__name__: rule().lr for rule in RULES}
    assert learning_rates == {
        "SGD": 0.01,
        "Momentum": 0.01,
        "Nesterov": 0.01,
        "DeltaBarDelta": 0.01,
        "AdaGrad": 0.01,
        "RMSProp": 0.01,
        "Adadelta": 1.0,
        "Adam": 0.001,
        "AdamW": 0.001,
        "NAdam": 0.002,
        "AMSGrad": 0.001,
        "Rprop": 0.01,
    }
    assert {rule.__name__ for rule in RULES if rule().weight_decay} == {"AdamW"}
    assert AdamW().weight_decay == 0.01
    assert LBFGS().history == 10


def test_settings_are_kept_as_python_numbers_and_travel() -> None:
    given: Any = {"lr": np.float32(0.5), "beta1": 0, "weight_decay": np.int64(1)}
    rule = Adam(**given)
    assert [type(value) for value in (rule.lr, rule.beta1, rule.weight_decay)] == [float, float, float]
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert hash(Adam()) == hash(Adam())
    with pytest.raises(AttributeError):
        rule.lr = 0.1  # type: ignore[misc]
    with pytest.raises(TypeError):
        SGD(0.1, 0.01)  # type: ignore[call-arg]  # weight decay is a keyword: PyTorch's orders differ


def test_rates() -> None:
    t = np.array([0, 3, 7])
    np.testing.assert_array_equal(rates(SGD(0.5), t), [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(rates(SGD(lambda t: 1 / (1 + t)), t), [1, 0.25, 0.125])
    np.testing.assert_array_equal(rates(SGD(Cosine(1.0, 6)), t), [1, 0.5, 0])
    plateau = ReduceOnPlateau(0.5, factor=0.5, patience=0)
    run = plateau.start()
    np.testing.assert_array_equal(rates(SGD(plateau), t), [0.5, 0.5, 0.5])
    run.observe(1.0)
    run.observe(1.0)
    np.testing.assert_array_equal(rates(SGD(plateau), t, run), [0.25, 0.25, 0.25])


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda t: 2.0 - t, r"Adam lr at step 3: -1\.0 given, a number >= 0 is wanted"),
        (lambda t: float("nan") if t == 7 else 0.0, r"Adam lr at step 7: nan given, a finite number is wanted"),
        (lambda t: float("inf"), r"Adam lr at step 0: inf given"),
        (lambda t: "0.1", r"Adam lr at step 0: '0\.1' \(str\) given, a real number is wanted"),
        (lambda t: None, r"Adam lr at step 0: None"),
        (lambda t: True, r"Adam lr at step 0: True \(bool\)"),
    ],
)
def test_bad_rates_of_a_schedule_are_named(schedule: Callable[[int], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rates(Adam(schedule), np.array([0, 3, 7]))


# What a type checker would refuse, too.
A_CLASS: Any = Cosine
A_SCHEDULE: Any = Cosine(0.1, 10)
NOT_A_REAL = [float("nan"), float("inf"), "0.1", True, None, 1j, [0.1]]


@pytest.mark.parametrize("rule", [*RULES, LBFGS])
def test_every_bad_setting_is_refused(rule: type[Any]) -> None:
    for field in fields(rule):
        default = getattr(rule(), field.name)
        bad: list[Any] = [0, 1, "yes", None] if isinstance(default, bool) else [*NOT_A_REAL, -1, -1e-9]
        bad += [2.5, 0] if type(default) is int else []
        for value in bad:
            with pytest.raises(InputError, match=f"^{rule.__name__} {field.name}: "):
                rule(**{field.name: value})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Momentum(beta=1), "Momentum beta: 1 given, a number < 1 is wanted"),
        (lambda: Nesterov(beta=1.5), "Nesterov beta"),
        (lambda: DeltaBarDelta(phi=1), "DeltaBarDelta phi"),
        (lambda: DeltaBarDelta(theta=1), "DeltaBarDelta theta"),
        (lambda: DeltaBarDelta(lr=A_SCHEDULE), "DeltaBarDelta lr: .* a real number is wanted"),
        (lambda: RMSProp(alpha=1), "RMSProp alpha"),
        (lambda: RMSProp(momentum=1), "RMSProp momentum"),
        (lambda: Adadelta(rho=1), "Adadelta rho"),
        (lambda: Adam(beta1=1), "Adam beta1"),
        (lambda: AMSGrad(beta2=1), "AMSGrad beta2"),
        (lambda: Adam(lr=A_CLASS), r"Adam lr: the class Cosine given, an instance is wanted: Cosine\(\.\.\.\)"),
        (lambda: Rprop(eta_minus=0), "Rprop eta_minus"),
        (lambda: Rprop(eta_minus=1), "Rprop eta_minus"),
        (lambda: Rprop(eta_plus=1), "Rprop eta_plus"),
        (lambda: Rprop(step_max=0), "Rprop step_max"),
        (lambda: Rprop(step_min=2, step_max=1), r"Rprop step_min: 2\.0 given, a number <= step_max = 1\.0 is wanted"),
        (lambda: Rprop(lr=A_SCHEDULE), "Rprop lr: .* a real number is wanted"),
        *((lambda rule=rule: rule(eps=0), f"{rule.__name__} eps") for rule in RULES if hasattr(rule(), "eps")),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("rule", [Adam, NAdam, AMSGrad])
def test_the_smallest_eps_is_a_normal_number_in_float32(rule: Any) -> None:
    """Times the smallest bias correction too: the tiled form's steps take smaller numbers as 0."""
    with pytest.raises(InputError, match="eps"):
        rule(eps=1e-30)
    instance = rule(eps=1e-29, beta2=float(np.nextafter(1, 0)))
    c = instance.coefficients(np.arange(1), np.array([1e-3])).astype("float32")[0]
    assert c[c > 0].min() >= np.finfo("float32").tiny
