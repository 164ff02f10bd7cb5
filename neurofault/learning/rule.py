"""Learning rules of Loihi in Lava's product-series syntax, read into frozen records.

A rule gives the change of a synaptic variable (``dw`` weight, ``dd`` delay, ``dt`` tag) as a sum of products::

    rule    = [sign] product { sign product }
    product = term { "*" term }                  (one gate at least; the scale m·2^e is the product of its numbers)
    term    = number | gate | variable | "(" sum ")" | "sgn(" sum ")"
    number  = integer | "2^" [sign] integer
    gate    = "x0" | "y0" | "u0" … "u9"          (a source spiked, a target spiked, every 2^k-th epoch)
    variable= "x1" | "x2" | "y1" | "y2" | "y3" | "w" | "d" | "t"
    sum     = variable with an integer added or subtracted; sgn takes only w, d, t

The first gate of a product decides when it counts and at which moment the traces are read; ``x0`` and ``y0`` after it are factors.
Source: Lava 0.10 ``lava/magma/core/learning/{symbolic_equation,product_series}.py``. Texts that Lava reads as something else than they
say (``(-w)`` as ``w``, ``u12`` as ``u1*2``, ``x0*-2*y0`` as two products) are refused here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from neurofault.errors import LearningRuleError, nearest

Gate = Literal["x0", "y0", "u"]
Target = Literal["dw", "dd", "dt"]

TARGETS: tuple[Target, ...] = ("dw", "dd", "dt")
PRE, POST, SYNAPTIC = ("x1", "x2"), ("y1", "y2", "y3"), ("w", "d", "t")
_NAMES = ("x0", "y0", *PRE, *POST, *SYNAPTIC)
_HELD_BY_NEURON = 65535
"""Decay constant that Lava gives the traces that a neuron writes itself (``Loihi3FLearningRule``: the largest uint16)."""


@dataclass(frozen=True)
class Factor:
    """``variable + constant``, or the sign of it.

    Attributes:
        variable: x0, y0, x1, x2, y1, y2, y3, w, d or t.
        constant: added before the factor saturates.
        sign: take −1, 0 or 1.
    """

    variable: str
    constant: int = 0
    sign: bool = False


@dataclass(frozen=True)
class Product:
    """``mantissa · 2^exponent · gate · Π factors``.

    Attributes:
        gate: ``x0``, ``y0`` or ``u``.
        mantissa, exponent: the scale, normalised as Lava does (|mantissa| > 7 is halved while it is even and the exponent below 8).
        factors: in the order of the text.
        text: what was read.
    """

    gate: Gate
    mantissa: int
    exponent: int
    factors: tuple[Factor, ...]
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Trace:
    """A spike trace: e^(−1/tau) of it stays a step, a spike adds ``impulse``.

    Attributes:
        impulse: at least 0; its fraction is kept in 1/256 and rounded at random.
        tau: decay constant in steps, at least 0; 0: nothing stays; ``math.inf``: all of it stays.
    """

    impulse: float = 0.0
    tau: float = 0.0


@dataclass(frozen=True)
class LearningRule:
    """A whole rule, as :func:`learning_rule` reads it.

    Attributes:
        dw, dd, dt: products of each target, in order; empty: the target does not learn.
        x1, x2, y1, y2, y3: the traces.
        t_epoch: steps of a learning epoch, at least 1.
        decimation: k of ``u`` gates; None: there are none.
        third_factor: whether the target neurons write y1, y2, y3 themselves in each step.
    """

    dw: tuple[Product, ...] = ()
    dd: tuple[Product, ...] = ()
    dt: tuple[Product, ...] = ()
    x1: Trace = Trace()
    x2: Trace = Trace()
    y1: Trace = Trace()
    y2: Trace = Trace()
    y3: Trace = Trace()
    t_epoch: int = 1
    decimation: int | None = None
    third_factor: bool = False

    def products(self, target: Target) -> tuple[Product, ...]:
        """Return the products of a target."""
        return {"dw": self.dw, "dd": self.dd, "dt": self.dt}[target]


def learning_rule(
    *,
    dw: str | None = None,
    dd: str | None = None,
    dt: str | None = None,
    x1_impulse: float = 0.0,
    x1_tau: float = 0.0,
    x2_impulse: float = 0.0,
    x2_tau: float = 0.0,
    y1_impulse: float = 0.0,
    y1_tau: float = 0.0,
    y2_impulse: float = 0.0,
    y2_tau: float = 0.0,
    y3_impulse: float = 0.0,
    y3_tau: float = 0.0,
    t_epoch: int = 1,
    third_factor: bool = False,
) -> LearningRule:
    """Read a rule; names as in Lava's ``Loihi2FLearningRule`` and, with ``third_factor``, ``Loihi3FLearningRule``.

    ``dw``, ``dd``, ``dt``: the texts, at least one. ``…_impulse``, ``…_tau``: see :class:`Trace`; those of y1, y2, y3 stay 0 with
    ``third_factor``, where the target neurons write y1, y2, y3 themselves. ``t_epoch``: steps of a learning epoch.

    Raises:
        LearningRuleError: what cannot be read, all of it.

    >>> rule = learning_rule(dw="2^-2*u0*x1*y1 - 2^-4*u0*x1*(y2+3)*sgn(w)", x1_impulse=16, x1_tau=8)
    >>> [(p.gate, p.mantissa, p.exponent, len(p.factors)) for p in rule.dw]
    [('u', 1, -2, 2), ('u', -1, -4, 3)]
    """
    mistakes: list[str] = []
    decimations: dict[str, int] = {}
    read: dict[str, tuple[Product, ...]] = {}
    for target, text in (("dw", dw), ("dd", dd), ("dt", dt)):
        read[target] = () if text is None else _series(target, text, decimations, mistakes)
    if dw is None and dd is None and dt is None:
        mistakes.append("learning rule: no target; give dw, dd or dt")
    if len(decimations) > 1:
        mistakes.append(f"learning rule: gates {', '.join(sorted(decimations))}; a rule has one u gate in all its products")
    traces = {
        "x1": (x1_impulse, x1_tau),
        "x2": (x2_impulse, x2_tau),
        "y1": (y1_impulse, y1_tau),
        "y2": (y2_impulse, y2_tau),
        "y3": (y3_impulse, y3_tau),
    }
    for name, (impulse, tau) in traces.items():
        if not (0 <= impulse < math.inf):
            mistakes.append(f"learning rule: {name}_impulse is {impulse}; allowed: 0 or more")
        if not tau >= 0:
            mistakes.append(f"learning rule: {name}_tau is {tau}; allowed: 0 or more steps")
        if third_factor and name in POST and (impulse or tau):
            mistakes.append(f"learning rule: {name} has an impulse or tau, but with a third factor the neurons write y1, y2, y3")
    if not (isinstance(t_epoch, int) and t_epoch >= 1):
        mistakes.append(f"learning rule: t_epoch is {t_epoch}; allowed: whole steps from 1")
    if mistakes:
        raise LearningRuleError(mistakes)
    held = {name: (0.0, float(_HELD_BY_NEURON)) for name in POST} if third_factor else {}
    records = {name: Trace(float(impulse), float(tau)) for name, (impulse, tau) in (traces | held).items()}
    k = next(iter(decimations.values()), None)
    return LearningRule(read["dw"], read["dd"], read["dt"], **records, t_epoch=t_epoch, decimation=k, third_factor=third_factor)


class _Unreadable(Exception):
    """One product cannot be read; the text says why."""


def _series(target: str, text: str, decimations: dict[str, int], mistakes: list[str]) -> tuple[Product, ...]:
    products = []
    for number, part in enumerate(_split(text), 1):
        try:
            products.append(_product(part, decimations))
        except _Unreadable as error:
            mistakes.append(f"learning rule {target}, product {number} {part!r}: {error}")
    return tuple(products)


def _split(text: str) -> list[str]:
    """Cut a sum into its products, each with its sign; signs in brackets and exponents stay where they are."""
    parts, depth = [""], 0
    for sign in "".join(text.split()):
        depth += (sign == "(") - (sign == ")")
        if sign in "+-" and depth == 0 and parts[-1] and parts[-1][-1] not in "^*+-":
            parts.append("")
        parts[-1] += sign
    return parts


_SUM = re.compile(r"([+-]?)([a-z]\d*)(?:([+-])([0-9*^+-]+))?|([+-]?)([0-9*^]+)([+-])([a-z]\d*)")


def _number(text: str) -> tuple[int, int] | None:
    """Return mantissa and exponent of ``m``, ``2^e`` or ``m*2^e``; None if it is none of these."""
    power = re.fullmatch(r"2\^([+-]?\d+)", text)
    if power:
        return 1, int(power[1])
    match = re.fullmatch(r"(\d+)(?:\*2\^([+-]?\d+))?", text)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _constant(text: str) -> int:
    number = _number(text)
    if number is None:
        raise _Unreadable(f"{text!r} is not a number; write an integer or 2^e")
    if number[1] < 0:
        raise _Unreadable(f"constant {text} is not whole; constants are integers")
    return number[0] << number[1]


def _product(text: str, decimations: dict[str, int]) -> Product:
    mantissa, exponent = (-1 if text[:1] == "-" else 1), 0
    gate: Gate | None = None
    factors: list[Factor] = []
    for term in _terms(text[1:] if text[:1] in ("+", "-") else text):
        number = _number(term)
        inner = re.fullmatch(r"(sgn)?\((.*)\)", term)
        if number is not None:
            mantissa, exponent = mantissa * number[0], exponent + number[1]
        elif inner is not None:
            scale, power, factor = _bracket(inner[2], inner[1] is not None)
            mantissa, exponent = mantissa * scale, exponent + power
            factors += [factor] if factor else []
        elif re.fullmatch(r"u\d+", term):
            if len(term) > 2:
                raise _Unreadable(f"{term} is not a gate; allowed: u0 to u9")
            if gate in ("x0", "y0"):
                raise _Unreadable(f"{gate} is its gate already; write {term} first, {gate} is then a factor")
            gate, decimations[term] = "u", int(term[1])
        elif term in ("x0", "y0") and gate is None:
            gate = "x0" if term == "x0" else "y0"
        elif term in _NAMES:
            factors.append(Factor(term))
        else:
            raise _Unreadable(_unknown(term))
    if gate is None:
        raise _Unreadable("no gate; each product needs x0, y0 or u0 … u9")
    while abs(mantissa) > 7 and mantissa % 2 == 0 and exponent < 8:
        mantissa, exponent = mantissa // 2, exponent + 1
    return Product(gate, mantissa, exponent, tuple(factors), text)


def _unknown(term: str) -> str:
    if term[:1] in ("+", "-"):
        return f"a sign may not follow another sign or '*' ({term!r}); put it in front of the product"
    return f"unknown factor {term!r}; factors: {', '.join(_NAMES)}, u0 … u9, numbers{nearest(term, _NAMES)}"


def _terms(text: str) -> list[str]:
    """Cut a product at its ``*`` outside brackets."""
    terms, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            break
        if sign == "*" and depth == 0:
            terms.append("")
        else:
            terms[-1] += sign
    if depth:
        raise _Unreadable("brackets do not match")
    if "" in terms:
        raise _Unreadable("a factor is missing")
    return terms


def _bracket(text: str, sign: bool) -> tuple[int, int, Factor | None]:
    """Return the scale (mantissa, exponent) and factor that a bracket stands for."""
    number = _number(text.lstrip("+-")) if len(text) - len(text.lstrip("+-")) <= 1 else None
    if number is not None and not sign:
        return (-number[0] if text[0] == "-" else number[0]), number[1], None
    match = _SUM.fullmatch(text)
    if match is None:
        raise _Unreadable(f"({text}) is not a variable with a constant added or subtracted")
    if match[2] is not None:
        variable, negative = match[2], match[1] == "-"
        constant = 0 if match[4] is None else _constant(match[4]) * (-1 if match[3] == "-" else 1)
        bare = match[4] is None
    else:
        variable, negative = match[8], match[7] == "-"
        constant, bare = _constant(match[6]) * (-1 if match[5] == "-" else 1), False
    if variable not in _NAMES:
        raise _Unreadable(_unknown(variable))
    if sign and (variable not in SYNAPTIC or negative):
        raise _Unreadable(f"sgn({text}): sgn takes w, d or t, not negated, with or without a constant")
    if bare and (negative or variable in ("x0", "y0")):
        raise _Unreadable(f"({text}) has no constant; write {variable} without brackets, its sign in front of the product")
    return (-1 if negative else 1), 0, Factor(variable, -constant if negative else constant, sign)
