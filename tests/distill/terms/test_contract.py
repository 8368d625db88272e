"""What every term promises, for each that is found in the package: a new file is tested with no edit here."""

import ast
import copy
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import torch
from traces import CLASSES, STUDENT, TEACHER, Built, chained_trace_of, given_of, setting_of, shapes_for

import distill.terms
from distill.combination import needs_of
from distill.terms import parse, terms
from distill.trace import Shapes
from priors.errors import InputError

NAMES = tuple(terms())
COMPARED = [name for name in NAMES if terms()[name]().needs.teacher]


def built(name: str, **changes):
    torch.manual_seed(0)
    term = terms()[name]()
    student, teacher = shapes_for(term)
    return Built(term, setting_of(changes.get("student", student), changes.get("teacher", teacher)))


def traced(name: str, batch: int, student: int, teacher: int, dtype=torch.float32) -> tuple:
    """The traces of both networks, as the term sees them; the numbers are seeds."""
    shapes = shapes_for(terms()[name]())
    return tuple(chained_trace_of(of, batch, seed, dtype) for of, seed in zip(shapes, (student, teacher), strict=True))


def tensors(trace) -> list:
    return [trace.logits, *([] if trace.penultimate is None else [trace.penultimate]), *trace.stages]


def memory_of(loss) -> dict:
    return {} if loss.memory is None else loss.memory.state_dict()


def test_there_is_one_term_a_file():
    files = {path.stem for path in Path(distill.terms.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in NAMES} == files


@pytest.mark.parametrize("name", NAMES)
def test_its_configuration_is_frozen_and_documented(name):
    kind = terms()[name]
    with pytest.raises(FrozenInstanceError):
        kind().weight = 3.0
    assert kind.paper and 0 <= kind.beside and kind.pretrains in ("", "student", "term")
    assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("), "a sentence, for listings"
    source = Path(distill.terms.__file__).parent / f"{name.replace('-', '_')}.py"
    body = next(
        node
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ).body
    for line, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign):
            assert isinstance(following, ast.Expr), f"{ast.unparse(line)} has no line of help below it"


@pytest.mark.parametrize("name", NAMES)
def test_weights_out_of_range_are_refused(name):
    for weight in (-1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match=rf"--{name}.weight .*expected a number of 0 or more"):
            terms()[name](weight=weight)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_is_a_finite_number_of_float32(name, dtype):
    student, teacher = traced(name, 7, 2, 3, dtype)
    loss = built(name)(student, teacher, given_of(7))
    assert loss.shape == () and loss.dtype == torch.float32 and bool(loss.isfinite())


@pytest.mark.parametrize("pretraining", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_the_student_and_never_the_teacher(name, pretraining):
    """Of all that the student computed, something moves the loss; the teacher's is not even asked."""
    if pretraining and not terms()[name].pretrains:
        pytest.skip("it has no phase of its own")
    student, teacher = traced(name, 7, 2, 3)
    loss = built(name)
    value = loss(student, teacher, given_of(7, pretraining=pretraining))
    for tensor in (*tensors(student), *tensors(teacher)):  # what a derivative left there is not the loss's
        tensor.grad = None
    value.backward()
    assert all(tensor.grad is None for tensor in tensors(teacher))
    gradients = [tensor.grad for tensor in tensors(student) if tensor.grad is not None]
    if pretraining and terms()[name].pretrains == "term":
        assert all(not gradient.any() for gradient in gradients)
    elif pretraining or terms()[name].pretrains != "student":  # one with a phase of the student's may end with it
        assert any(gradient.any() for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients)
    learning = [parameter.grad for parameter in loss.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in learning)
    if pretraining and terms()[name].pretrains == "term":
        assert any(gradient.any() for gradient in learning)


@pytest.mark.parametrize("name", NAMES)
def test_all_its_parameters_learn(name):
    loss = built(name)
    trained = set()
    for pretraining in {False, bool(terms()[name].pretrains)}:
        loss.zero_grad(set_to_none=True)
        loss(*traced(name, 7, 2, 3), given_of(7, pretraining=pretraining)).backward()
        trained |= {key for key, one in loss.named_parameters() if one.grad is not None and one.grad.any()}
    assert trained == {key for key, _ in loss.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_only_what_it_needs_is_looked_at(name):
    term = terms()[name]()
    needs = needs_of({name: term})
    bare, small = (
        replace(
            of,
            penultimate=of.penultimate if needs.penultimate else None,
            stages=of.stages if needs.stages or needs.modules else (),
        )
        for of in shapes_for(term)
    )
    setting = setting_of(bare, small if needs.teacher_at_all else None)
    loss = Built(term, setting if needs.prior else replace(setting, prior=None))
    teacher = chained_trace_of(small, 7, 3) if needs.teacher else None
    assert bool(loss(chained_trace_of(bare, 7, 2), teacher, given_of(7)).isfinite())


@pytest.mark.parametrize("name", [name for name in NAMES if terms()[name].zero])
def test_it_is_zero_and_least_where_the_student_is_the_teacher(name):
    _, both = shapes_for(terms()[name]())
    loss = built(name, student=both, teacher=both)
    student, teacher = chained_trace_of(both, 7, 3), chained_trace_of(both, 7, 3)
    equal = loss(student, teacher, given_of(7))
    for tensor in tensors(student):  # what a derivative left there is not the loss's
        tensor.grad = None
    equal.backward()
    other = loss(chained_trace_of(both, 7, 4), teacher, given_of(7))
    assert abs(equal.item()) < 1e-6 * max(1.0, other.item()) and other.item() > 1e-4
    for tensor in tensors(student):
        if tensor.grad is not None:
            assert float(tensor.grad.abs().max()) < 1e-4


@pytest.mark.parametrize("name", COMPARED)
def test_shapes_that_do_not_fit_are_refused_with_both_named(name):
    """Where only some shapes can be compared. Regressions and distances compare any."""
    needs = terms()[name]().needs
    if needs.stages:
        wrong = setting_of(replace(STUDENT, stages=STUDENT.stages[:2]), replace(TEACHER, stages=TEACHER.stages[:0]))
        expected = "the student has 2, the teacher 0"
    elif needs.penultimate:
        pytest.skip("it compares activations of all widths")
    else:
        wrong = setting_of(Shapes(CLASSES + 1, 16, ()), TEACHER)
        expected = "the student has 6 classes and the teacher 5"
    with pytest.raises(InputError, match=expected):
        terms()[name]().build(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_its_state_survives(name):
    """A loss with the parameters and the memory of another goes on as that one does."""
    first, term = built(name), terms()[name]()
    batches = [traced(name, 7, 10 + n, 20 + n) for n in range(3)]
    with torch.no_grad():
        for number, (student, teacher) in enumerate(batches[:2]):
            first(student, teacher, given_of(7, number))
    torch.manual_seed(5)
    second = Built(term, replace(setting_of(*shapes_for(term)), generator=torch.Generator().manual_seed(9)))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert (first.memory is None) == (second.memory is None)
    if first.memory is not None:
        assert not list(first.memory.parameters()), "what is trained belongs to the loss"
        second.memory.load_state_dict(copy.deepcopy(first.memory.state_dict()))
    with torch.no_grad():
        found = [loss(*batches[2], given_of(7, 2)) for loss in (first, second)]
    assert torch.equal(*found)
    for key, values in memory_of(first).items():
        assert torch.equal(values, memory_of(second)[key])


def test_sums_are_read():
    assert parse("ce+ckd") == ("ce", "ckd")
    with pytest.raises(InputError, match="unknown term 'hintn': did you mean 'hinton'"):
        parse("ce+hintn")
    with pytest.raises(InputError, match="given twice"):
        parse("ce+ce")
