"""Rule texts: read as Lava reads them, or refused with one clear line for each mistake."""

from __future__ import annotations

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_cases import CASES

from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.errors import LearningRuleError, UnsupportedError
from neurofault.learning.rule import Factor, Product, learning_rule
from neurofault.learning.rule_check import check_rule

needs_lava = pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")

TEXTS = [
    *sorted({text for case in CASES.values() for target, text in case.rule.items() if target in ("dw", "dd", "dt")}),
    " - 2 ^ -3 * x0 * ( y1 + 2^2 ) * (3 - w) + 12*u3*x1*(x0-1) ",
    "2*3*2^2*x0*x1*2^-5 - 16*y0",
    "(-3)*2^-2*x0*(w)*sgn(d-2*2^3) + (2^3)*y0",
    "u2*u2*x1",
    "x0*y0*y0",
    "-8*2^8*x0",
    "0*x0*x1",
]


def lavas(text):
    """What Lava's own parser makes of a text."""
    from neurofault.engines.on_lava.shim import require_lava

    require_lava()
    from lava.magma.core.learning.product_series import ProductSeries
    from lava.magma.core.learning.symbolic_equation import SymbolicEquation

    series = ProductSeries(SymbolicEquation("dw", text))
    products = tuple(
        Product(p.dependency, p.s_mantissa, p.s_exp - 7, tuple(Factor(f.state_var, f.const or 0, f.is_sgn) for f in p.factors))
        for p in series.products
    )
    return products, series.decimate_exponent


@needs_lava
@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_read_as_lava_reads_them(text):
    rule = learning_rule(dw=text)
    assert (rule.dw, rule.decimation) == lavas(text)


FACTORS = st.one_of(
    st.sampled_from(["x1", "x2", "y1", "y2", "y3", "w", "d", "t", "2^-2", "2^1", "3", "5"]),
    st.builds(
        "({}{}{})".format, st.sampled_from(["x1", "y3", "w", "t", "x0"]), st.sampled_from("+-"), st.sampled_from(["7", "2^3"])
    ),
    st.builds("({}{}{})".format, st.integers(0, 99), st.sampled_from("+-"), st.sampled_from(["x2", "y1", "d", "y0"])),
    st.builds("sgn({}{})".format, st.sampled_from("wdt"), st.sampled_from(["", "+4", "-2^2"])),
)
PRODUCTS = st.builds(
    lambda gate, factors: "*".join([gate, *factors]), st.sampled_from(["x0", "y0", "u3"]), st.lists(FACTORS, max_size=4)
)
SERIES = st.builds(
    lambda first, rest: first + "".join(rest),
    st.builds("{}{}".format, st.sampled_from(["", "-"]), PRODUCTS),
    st.lists(st.builds(" {} {}".format, st.sampled_from("+-"), PRODUCTS), max_size=3),
)


@needs_lava
@settings(max_examples=200, deadline=None)
@given(SERIES)
def test_any_sum_of_products_is_read_as_lava_reads_it(text):
    try:
        expected = lavas(text)
    except ValueError as error:  # a scale out of range, which here the profile decides about
        if "antissa" in str(error) or "xponent" in str(error):
            return
        raise
    rule = learning_rule(dw=text)
    assert (rule.dw, rule.decimation) == expected


REFUSED = {
    "2^-2*x1*y1": "no gate; each product needs x0, y0 or u0 … u9",
    "x0*z1": "unknown factor 'z1'; factors: x0, y0, x1, x2, y1, y2, y3, w, d, t, u0 … u9, numbers (did you mean 'y1'?)",
    "x0*-2*y1": "a sign may not follow another sign or '*' ('-2'); put it in front of the product",
    "x0*(-w)": "(-w) has no constant; write w without brackets, its sign in front of the product",
    "x0*(x1*y1)": "(x1*y1) is not a variable with a constant added or subtracted",
    "x0*(w+2^-1)": "constant 2^-1 is not whole; constants are integers",
    "x0*sgn(x1)": "sgn(x1): sgn takes w, d or t, not negated, with or without a constant",
    "x0*sgn(3-w)": "sgn(3-w): sgn takes w, d or t, not negated, with or without a constant",
    "u12*x1": "u12 is not a gate; allowed: u0 to u9",
    "x0*u1*x1": "x0 is its gate already; write u1 first, x0 is then a factor",
    "x0*(w+3": "brackets do not match",
    "x0**w": "a factor is missing",
    "x0*x1/2": "unknown factor 'x1/2'; factors: x0, y0, x1, x2, y1, y2, y3, w, d, t, u0 … u9, numbers (did you mean 'x2'?)",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(LearningRuleError) as error:
        learning_rule(dw=text)
    assert str(error.value) == f"learning rule dw, product 1 {text!r}: {REFUSED[text]}"


def test_every_mistake_is_listed():
    with pytest.raises(LearningRuleError) as error:
        learning_rule(dw="u1*x1 - y1", dt="u2*q", x1_impulse=-1, y2_tau=-3, y1_impulse=3, t_epoch=0, third_factor=True)
    assert error.value.mistakes == (
        "learning rule dw, product 2 '-y1': no gate; each product needs x0, y0 or u0 … u9",
        "learning rule dt, product 1 'u2*q': unknown factor 'q'; factors: x0, y0, x1, x2, y1, y2, y3, w, d, t, u0 … u9, numbers",
        "learning rule: gates u1, u2; a rule has one u gate in all its products",
        "learning rule: x1_impulse is -1; allowed: 0 or more",
        "learning rule: y1 has an impulse or tau, but with a third factor the neurons write y1, y2, y3",
        "learning rule: y2_tau is -3; allowed: 0 or more steps",
        "learning rule: y2 has an impulse or tau, but with a third factor the neurons write y1, y2, y3",
        "learning rule: t_epoch is 0; allowed: whole steps from 1",
    )
    with pytest.raises(LearningRuleError) as error:
        learning_rule()
    assert str(error.value) == "learning rule: no target; give dw, dd or dt"


def changed(profile: HardwareProfile, **values) -> HardwareProfile:
    """A profile whose learning engine has other limits."""
    learning = profile.learning
    update = {
        name: value if isinstance(value, (bool, str)) else getattr(learning, name).model_copy(update={"value": value})
        for name, value in values.items()
    }
    return profile.model_copy(update={"learning": learning.model_copy(update=update)})


def test_a_chip_says_what_it_cannot_express():
    rule = learning_rule(dw="2^-2*u0*x1*y1 - 9*u0*x2*y3 + 2^-7*x0*t", dt="x0*y1", t_epoch=70, x1_impulse=200, third_factor=True)
    small = changed(load_profile("loihi1"), products_max=2, pre_traces=1, post_traces=1, tag_bits=0, scale_exponent_min=-6)
    with pytest.raises(LearningRuleError) as error:
        check_rule(rule, small)
    third = "y1 would be a third factor, a value for each target neuron; loihi1 has a reward that all neurons of a core share"
    assert error.value.mistakes == (
        "learning rule dw: 3 products; loihi1 sums at most 2",
        f"learning rule dw, product 1 '2^-2*u0*x1*y1': {third}",
        "learning rule dw, product 2 '-9*u0*x2*y3': x2 does not exist; a source neuron of loihi1 has 1 traces (x1)",
        "learning rule dw, product 2 '-9*u0*x2*y3': y3 does not exist; a target neuron of loihi1 has 1 traces (y1)",
        "learning rule dw, product 3 '+2^-7*x0*t': t does not exist; synapses of loihi1 store no tag",
        "learning rule dt: synapses of loihi1 store no tag",
        f"learning rule dt, product 1 'x0*y1': {third}",
        "learning rule dw, product 2 '-9*u0*x2*y3': scale -9·2^0: mantissa -9; loihi1 allows -8 to 7",
        "learning rule dw, product 3 '+2^-7*x0*t': scale 1·2^-7: exponent -7; loihi1 allows -6 to 8",
        "learning rule: an epoch of 70 steps; loihi1 has at most 63",
        "learning rule: x1_impulse is 200; traces of loihi1 have 7 bits, 0 to 127",
    )
    with pytest.raises(UnsupportedError) as refused:
        check_rule(rule, changed(small, available=False))
    assert str(refused.value) == "loihi1 has no learning engine: nothing on it can learn on chip"


def test_bundled_chips_take_the_rules_that_they_can():
    check_rule(learning_rule(dw="2^-2*x0*y1 - 2^-2*y0*x1", x1_impulse=16), load_profile("loihi1"))
    check_rule(learning_rule(dw="2^-2*u0*x1*y1 - 2^-2*u0*x1*y2", third_factor=True, t_epoch=32), load_profile("loihi2"))
    with pytest.raises(LearningRuleError) as error:
        check_rule(learning_rule(dw="u0*x1*y1", third_factor=True), changed(load_profile("loihi1"), third_factor="none"))
    assert str(error.value).endswith("y1 would be a third factor, a value for each target neuron; loihi1 has none")
