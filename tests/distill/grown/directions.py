"""Directions: cosines of what both networks have in the directions that `slopes` learns as well."""

from dataclasses import dataclass

from distill.terms.slopes import Reduced

from distill.term import Loss, Needs, Term
from distill.unit import unit


class _Cosines(Loss):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def loss(self, student, teacher, given):
        s, t = given.shared[Reduced(self.dim)]
        return (1 - (unit(s) * unit(t)).sum(1)).mean()


@dataclass(frozen=True)
class Directions(Term):
    """One minus the cosine in learnt directions."""

    paper = "made up"
    dim: int = 3

    @property
    def needs(self):
        return Needs(shared=(Reduced(self.dim),))

    def build(self, setting):
        return _Cosines(self.dim)
