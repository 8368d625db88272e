"""Sums of terms: their weights."""

from distill.combination import weights_of
from distill.terms import terms


def test_weights_of_the_labels_are_the_published_ones():
    built = {name: terms()[name]() for name in terms()}
    assert weights_of({"ce": built["ce"]}) == {"ce": 1.0}
    assert weights_of({name: built[name] for name in ("ce", "ckd", "hinton")})["ce"] == 0.1
    assert weights_of({"ce": terms()["ce"](weight=0.5), "ckd": built["ckd"]}) == {"ce": 0.5, "ckd": 0.9}
