"""Sums of terms: their weights."""

from distill.combination import weights_of
from distill.terms import terms


def test_weights_of_the_labels_are_the_published_ones():
    built = {name: terms()[name]() for name in terms()}
    assert weights_of({"ce": built["ce"]}) == {"ce": 1.0}
    assert weights_of({name: built[name] for name in ("ce", "ckd", "hinton")})["ce"] == 0.1
    assert weights_of({"ce": terms()["ce"](weight=0.5), "ckd": built["ckd"]}) == {"ce": 0.5, "ckd": 0.9}


def test_weights_of_a_term_are_those_it_is_published_with_beside_the_others():
    overhaul, l1, cross = (terms()[name] for name in ("overhaul", "spectral-l1", "cross-power"))
    assert weights_of({"overhaul": overhaul()}) == {"overhaul": 1.0}
    assert weights_of({"overhaul": overhaul(), "cross-power": cross()}) == {"overhaul": 1e-4, "cross-power": 0.01}
    given = {"spectral-l1": l1(weight=1e-5), "overhaul": overhaul(weight=0.0)}
    assert weights_of(given) == {"spectral-l1": 1e-5, "overhaul": 0.0}
    assert weights_of({"spectral-l1": l1()}) == {"spectral-l1": 1e-4}, "no term that is not there"
