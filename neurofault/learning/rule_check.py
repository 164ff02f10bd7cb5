"""What a chip's learning engine can express: a rule against a profile, every mistake at once."""

from __future__ import annotations

from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import LearningRuleError, UnsupportedError
from neurofault.learning.rule import POST, PRE, SYNAPTIC, TARGETS, LearningRule
from neurofault.numerals import plural

LAVA_MANTISSA, LAVA_EXPONENT = (-8, 7), (-7, 8)
"""Scales that the arithmetic has room for (Lava 0.10 ``ProductSeries``)."""


def check_rule(rule: LearningRule, profile: HardwareProfile) -> None:
    """Refuse a rule that a chip cannot express. Limits that the profile does not know are not checked.

    Args:
        rule: as :func:`neurofault.learning.rule.learning_rule` reads it.
        profile: the chip; its ``learning`` section is what counts.

    Raises:
        UnsupportedError: the chip does not learn.
        LearningRuleError: each mistake in a line: target, product, factor, and what is allowed.
    """
    engine, chip = profile.learning, profile.name
    if not engine.available:
        unknown = "" if engine.available is False else " that its profile knows of (learning.available is not given)"
        raise UnsupportedError(f"{chip} has no learning engine{unknown}: nothing on it can learn on chip")
    mistakes: list[str] = []
    for target in TARGETS:
        products, most = rule.products(target), engine.products_max.value
        if most is not None and len(products) > most:
            mistakes.append(f"learning rule {target}: {len(products)} products; {chip} sums at most {most}")
    mistakes += _factors(rule, profile)
    mistakes += scale_mistakes(
        rule,
        (engine.scale_mantissa_min.value, engine.scale_mantissa_max.value),
        (engine.scale_exponent_min.value, engine.scale_exponent_max.value),
        chip,
    )
    longest = engine.epoch_max.value
    if longest is not None and rule.t_epoch > longest:
        mistakes.append(f"learning rule: an epoch of {plural(rule.t_epoch, 'step')}; {chip} has at most {longest}")
    bits = engine.traces_bits.value
    if bits is not None:
        for name in (*PRE, *POST):
            impulse = getattr(rule, name).impulse
            if impulse >= 1 << bits:
                mistakes.append(
                    f"learning rule: {name}_impulse is {impulse:g}; traces of {chip} have {plural(bits, 'bit')}, 0 to {(1 << bits) - 1}"
                )
    if mistakes:
        raise LearningRuleError(mistakes)


def scale_mistakes(
    rule: LearningRule, mantissa: tuple[int | None, int | None], exponent: tuple[int | None, int | None], chip: str
) -> list[str]:
    """Return a line for each product whose scale m·2^e lies outside the ranges; None: no limit.

    Args:
        rule: the rule.
        mantissa: lowest and highest.
        exponent: likewise.
        chip: whose limits they are.
    """
    lines = []
    for target in TARGETS:
        for number, product in enumerate(rule.products(target), 1):
            for what, value, (low, high) in (
                ("mantissa", product.mantissa, mantissa),
                ("exponent", product.exponent, exponent),
            ):
                if (low is not None and value < low) or (high is not None and value > high):
                    lines.append(
                        f"learning rule {target}, product {number} {product.text!r}: scale {product.mantissa}·2^{product.exponent}: "
                        f"{what} {value}; {chip} allows {low} to {high}"
                    )
    return lines


def _factors(rule: LearningRule, profile: HardwareProfile) -> list[str]:
    """Return a line for each factor that the chip does not have."""
    engine, chip, lines = profile.learning, profile.name, []
    kinds: tuple[tuple[tuple[str, ...], int | None, str], ...] = (
        (PRE, engine.pre_traces.value, "source"),
        (POST, engine.post_traces.value, "target"),
    )
    traces = {name: kind for kind in kinds for name in kind[0]}
    memory = {"d": ("delay", profile.synapse.delay_bits.value), "t": ("tag", engine.tag_bits.value)}
    for target in TARGETS:
        if rule.products(target) and target[1] in memory and memory[target[1]][1] == 0:
            lines.append(f"learning rule {target}: synapses of {chip} store no {memory[target[1]][0]}")
        for number, product in enumerate(rule.products(target), 1):
            for name in dict.fromkeys(factor.variable for factor in product.factors):
                place = f"learning rule {target}, product {number} {product.text!r}: {name}"
                if name in traces:
                    kind, most, whose = traces[name]
                    if most is not None and kind.index(name) >= most:
                        lines.append(
                            f"{place} does not exist; a {whose} neuron of {chip} has {most} traces ({', '.join(kind[:most]) or 'none'})"
                        )
                    elif rule.third_factor and name in POST and engine.third_factor != "graded":
                        has = "a reward that all neurons of a core share" if engine.third_factor == "reward" else "none"
                        lines.append(f"{place} would be a third factor, a value for each target neuron; {chip} has {has}")
                elif name in SYNAPTIC and name in memory and memory[name][1] == 0:
                    lines.append(f"{place} does not exist; synapses of {chip} store no {memory[name][0]}")
    return lines
