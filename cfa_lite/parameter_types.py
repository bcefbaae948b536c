"""One parameter of an estimator: its type, its range and the check of a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

MIN_SIZE_PX = 64


@dataclass(frozen=True)
class Parameter:
    """One parameter of an estimator.

    Attributes
    ----------
    name : str
        In Python. The command-line option has the same name with dashes, unless `option` is given.
    kind : {"integer", "number", "rate", "choice", "flag", "text", "path", "mask", "size", "range"}
    default : object
    help : str
        One or two sentences for the constructor's documentation and for ``--help``.
    low, high : float
        Range of an integer or a number.
    is_open : bool
        Whether `low` itself is excluded.
    choices : tuple of str
    optional : bool
        Whether None is allowed.
    when : {"fit", "limits", "inspection", "machine"}
        What the parameter affects. "inspection" parameters can be changed after a fit. "machine" parameters change no
        result.
    option : str
        Name on the command line, where it differs.
    """

    name: str
    kind: str
    default: Any
    help: str
    low: float = 0
    high: float = math.inf
    is_open: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False
    when: str = "fit"
    option: str = ""

    def type_text(self) -> str:
        """Return the type as a docstring states it. The default choice comes first, as numpydoc expects."""
        choices = sorted(self.choices, key=lambda choice: choice != self.default)
        upper = "inf)" if math.isinf(self.high) else f"{self.high:g}]"
        bounds = f" in {'(' if self.is_open else '['}{self.low:g}, {upper}"
        text = {
            "integer": f"int of at least {self.low:g}"
            if math.isinf(self.high)
            else f"int from {self.low:g} to {self.high:g}",
            "number": f"float{bounds}",
            "rate": "float in (0, 1)",
            "choice": "{" + ", ".join(f'"{choice}"' for choice in choices) + "}",
            "flag": "bool",
            "text": "str",
            "path": "path-like or str",
            "mask": "path-like, PIL image or ndarray of shape (h, w)",
            "size": f'int of at least {MIN_SIZE_PX} or "full"',
            "range": '(float, float) or "auto"',
        }[self.kind]
        return f"{text} or None" if self.optional else text

    def check(self, value: Any) -> None:
        """Check a value.

        Raises
        ------
        ValueError
            If the value is not allowed. The message gives the name, the value and the range.
        """
        if value is None and self.optional:
            return
        problem = _PROBLEMS[self.kind](self, value)
        if problem:
            none = ", or None" if self.optional else ""
            raise ValueError(f"{self.name}={value!r} is not allowed. Use {problem}{none}.")


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)  # NumPy's integers are registered


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _integer(p: Parameter, value: Any) -> str:
    upper = "" if math.isinf(p.high) else f" and at most {p.high:g}"
    return "" if _is_integer(value) and p.low <= value <= p.high else f"an integer of at least {p.low:g}{upper}"


def _number(p: Parameter, value: Any) -> str:
    if _is_number(value) and p.low <= value <= p.high and not (p.is_open and value == p.low):
        return ""
    upper = "" if math.isinf(p.high) else f" and at most {p.high:g}"
    return f"a number {'above' if p.is_open else 'of at least'} {p.low:g}{upper}"


def _rate(p: Parameter, value: Any) -> str:
    return "" if _is_number(value) and 0 < value < 1 else "a number above 0 and below 1, such as 0.01"


def _choice(p: Parameter, value: Any) -> str:
    known = isinstance(value, str) and value in p.choices
    return "" if known else f"one of {', '.join(map(repr, p.choices))}"


def _flag(p: Parameter, value: Any) -> str:
    is_numpy_bool = getattr(getattr(value, "dtype", None), "kind", "") == "b" and getattr(value, "shape", None) == ()
    return "" if isinstance(value, bool) or is_numpy_bool else "True or False"


def _text(p: Parameter, value: Any) -> str:
    return "" if isinstance(value, str) else "a string"


def _any(p: Parameter, value: Any) -> str:
    return ""  # it is checked when it is opened


def _size(p: Parameter, value: Any) -> str:
    if (isinstance(value, str) and value == "full") or (_is_integer(value) and value >= MIN_SIZE_PX):
        return ""
    return f"an integer of at least {MIN_SIZE_PX}, or 'full'"


def _range(p: Parameter, value: Any) -> str:
    if isinstance(value, str) and value == "auto":
        return ""
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        return "(low, high) or 'auto'"
    return "" if math.isfinite(low) and math.isfinite(high) and low < high else "(low, high) with low below high"


_PROBLEMS = {
    "integer": _integer, "number": _number, "rate": _rate, "choice": _choice, "flag": _flag, "text": _text,
    "path": _any, "mask": _any, "size": _size, "range": _range,
}  # fmt: skip
