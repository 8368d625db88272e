"""A student's and a teacher's trace."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from traces import STUDENT, TEACHER, Trace, trace_of


@pytest.fixture
def student() -> Trace:
    return trace_of(STUDENT, 7, 2)


@pytest.fixture
def teacher() -> Trace:
    return trace_of(TEACHER, 7, 3).detach()


collect_ignore = ["grown"]  # terms that are found only beside those of `distill.terms`
