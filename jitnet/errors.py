"""What jitnet raises, and the small checks that raise it before any work starts.

Every message names the argument, what was given and what is wanted.
"""

from __future__ import annotations

import difflib
import importlib
import math
import numbers
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any


class InputError(ValueError):
    """An argument, a file or a column is not what is wanted; nothing was changed."""


class DivergenceError(ArithmeticError):
    """The loss or the parameters stopped being finite; the last finite parameters are kept.

    Attributes: ``epoch`` (0-based), ``step`` (0-based, counted over all `fit` calls that continue one another)
    and ``layer`` (1..M, the first layer whose numbers are not finite, or None where only the loss is not).
    """

    def __init__(self, message: str, *, epoch: int, step: int, layer: int | None) -> None:
        super().__init__(message)
        self.epoch, self.step, self.layer = epoch, step, layer


class MissingExtraError(ImportError):
    """An optional package is not installed; the message says which extra brings it."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra of jitnet installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"this needs {module.split('.')[0]}: pip install 'jitnet[{extra}]'") from error


def unknown_name(
    argument: str, given: object, known: Iterable[str], what: str = "unknown name", others: str = "known"
) -> InputError:
    """The error for a name that is not in a table: it lists known ones (30 at most) and the nearest, in one line."""
    names = sorted(known)
    near = difflib.get_close_matches(str(given).lower(), names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:30])
    more = f", ... ({len(names)} in all)" if len(names) > 30 else ""
    return InputError(f"{argument}: {what} {given!r}{hint}; {others}: {shown}{more}")


def no_column(where: str, given: object, names: Iterable[str]) -> InputError:
    """The same for a column that a table has not."""
    return unknown_name(where, given, names, "there is no column", "columns")


def real(
    argument: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """A finite real number inside its bounds (`above`, `below` are open, `least`, `most` closed), as a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{argument}: {value!r} ({type(value).__name__}) given, a real number is wanted")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    wanted = [
        f"{word} {bound:g}"
        for word, bound, holds in (
            (">", above, above is None or number > above),
            (">=", least, least is None or number >= least),
            ("<", below, below is None or number < below),
            ("<=", most, most is None or number <= most),
        )
        if not holds
    ]
    if not math.isfinite(number):
        raise InputError(f"{argument}: {value!r} given, a finite number is wanted")
    if wanted:
        raise InputError(f"{argument}: {value!r} given, a number {' and '.join(wanted)} is wanted")
    return number


def whole(argument: str, value: object, *, least: int = 0) -> int:
    """A whole number that is at least `least`, as an int."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"{argument}: {value!r} ({type(value).__name__}) given, a whole number is wanted")
    if value < least:
        raise InputError(f"{argument}: {value!r} given, a whole number >= {least} is wanted")
    return int(value)


def check_names(argument: str, own: Sequence[Any]) -> None:
    """Raise InputError where two functions of the user's have one name: by that a file knows them."""
    for k, each in enumerate(own):
        if any(other.name == each.name and not _alike(other, each) for other in own[:k]):
            raise InputError(f"{argument}: two of your own named {each.name!r} given, a name for each is wanted")


def _alike(one: Any, other: Any) -> bool:
    """Whether two activations or losses are the same, or of the same lines: a function may make one for each layer."""
    pairs = [(getattr(one, field), getattr(other, field)) for field in one.__dataclass_fields__]
    try:
        return all(a == b or (callable(a) and callable(b) and _lines(a) == _lines(b)) for a, b in pairs)
    except (AttributeError, ValueError):  # no Python function, or arrays around it, or what is not there yet
        return False


def _lines(function: Any) -> Any:
    """What a Python function computes: its code, and what that finds around it."""
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    return function.__code__, function.__defaults__, around
