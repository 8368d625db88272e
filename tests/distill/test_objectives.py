"""A sum of terms as one module: against the sum written out, its phases, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F
from plain_loop import images, networks
from torch import nn

from distill import objective
from distill.terms.ab import AB
from distill.terms.ce import CE
from priors import ClassifierPrior, zoo
from priors.errors import InputError

PICTURES, LABELS = images()


def convolutions(width: int) -> nn.Sequential:
    """Its parts are numbered: maps of width channels at 0 and 1, the head at 4."""
    parts = nn.Conv2d(1, width, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3), nn.BatchNorm2d(width))
    return nn.Sequential(*parts, nn.ReLU(), nn.Flatten(), nn.Linear(4 * width, 4))


def compared(words, **options):
    torch.manual_seed(0)
    given = {"image_shape": (1, 6, 6), "student_taps": ("1",), "teacher_taps": ("1",)} | options
    return objective(words, student=convolutions(3), teacher=convolutions(5), **given)


def test_it_is_the_sum_written_out():
    student, teacher = networks()
    found = objective("ce+hinton", student=student, teacher=teacher, image_shape=(1, 6, 6))(PICTURES, LABELS)
    logits, target = student(PICTURES), (teacher.eval()(PICTURES) / 4).softmax(1).detach()
    expected = {
        "ce": 0.1 * F.cross_entropy(logits, LABELS),
        "hinton": 0.9 * 16 * (target * (target.log() - (logits / 4).log_softmax(1))).sum(1).mean(),
    }
    assert found.parts.keys() == expected.keys()
    for name, part in expected.items():
        torch.testing.assert_close(found.parts[name], part)
    torch.testing.assert_close(found.total, sum(expected.values()))


@pytest.mark.parametrize("norms", ["running", "batch"])
def test_the_teacher_is_asked_as_said_and_left_as_it_is(norms):
    student, teacher = networks()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    built = objective("hinton", student=student, teacher=teacher, image_shape=(1, 6, 6), teacher_norms=norms)
    found = built(PICTURES, LABELS).total
    with torch.no_grad():
        known = (teacher.train() if norms == "batch" else teacher)(PICTURES)
    teacher.eval()
    assert torch.equal(found, built(PICTURES, LABELS, teacher_logits=known).total)
    if norms == "running":
        assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


def test_classifiers_of_the_zoo_name_their_own_parts_and_a_prior_needs_no_teacher():
    student = zoo.build("convnet-half", classes=4, image_shape=(1, 8, 8), mean=0.0, std=1.0)
    teacher = zoo.build("convnet", classes=4, image_shape=(1, 8, 8), mean=0.0, std=1.0)
    every = objective("ce+attention+rkd", student=student, teacher=teacher)
    assert every.student.stages == student.stages and every.teacher.penultimate == teacher.penultimate_tap
    prior = ClassifierPrior.from_classifier(teacher, concentration=30)
    assert objective("ckd", student=student, prior=prior)(torch.rand(3, 1, 8, 8), torch.arange(3)).total.isfinite()


def test_each_phase_trains_what_it_is_for():
    built = compared({"ce": CE(), "ab": AB()})
    assert built.phases == ("ab", "train") and built.trained("ab") == ("student", "ab")
    head = set(built.student.network[4].parameters())
    assert not head & set(built.trainable("ab")) and head < set(built.trainable())
    assert set(built(PICTURES, LABELS, phase="ab").parts) == {"ab"} and set(built(PICTURES, LABELS).parts) == {"ce"}
    translated = compared("ce+ft")
    assert translated.trained("ft") == ("ft",)
    translated.student.network.register_forward_hook(lambda *_: pytest.fail("the student ran"))
    translated(PICTURES, LABELS, phase="ft").total.backward()


def test_validation_without_gradients_is_the_same_number():
    built = compared("ce+fitnet", student_taps=("0", "1"), teacher_taps=("0", "1")).eval()
    with torch.no_grad():
        found = built(PICTURES, LABELS).total
    assert not found.requires_grad and torch.equal(found, built(PICTURES, LABELS).total.detach())


@pytest.mark.parametrize(
    ("words", "options", "expected"),
    [
        ("ce+hintn", {}, "unknown term 'hintn': did you mean 'hinton'"),
        ("ce+hinton", {"teacher": None}, "ce.hinton looks at a teacher: give teacher, a module"),
        ("ce+ckd", {}, "ce.ckd needs a prior: give prior"),
        ("ce", {"image_shape": None}, "does not say what images it takes: give image_shape"),
        ("ce", {"image_shape": (1, 3, 3)}, "the student cannot take images of 1x3x3"),
        ("ce+attention", {"student_taps": ()}, "the student has no stages of its own to compare"),
        (
            "ce+sp+hinton+attention",
            {"teacher_taps": ("4",)},
            r"teacher: the tap '4' gives \(1, 4\).*which sp and attention compare: .*--teacher-taps.*leave them out",
        ),
        ("ce+attention", {"student_taps": ("7",)}, "the student: unknown module '7'"),
        ("ce+rkd", {"student_penultimate": "5:input"}, "the student: unknown module '5'"),
        ("ce+crd", {}, "crd remembers every training image: their labels are needed"),
    ],
)
def test_what_is_missing_is_one_line(words, options, expected):
    given = {"teacher": convolutions(5), "image_shape": (1, 6, 6), "student_taps": ("1",), "teacher_taps": ("1",)}
    with pytest.raises(InputError, match=expected):
        objective(words, student=convolutions(3), **given | options)


def test_a_batch_that_lacks_something_is_refused():
    remembering = compared("ce+crd", labels=LABELS)
    with pytest.raises(InputError, match="a term remembers training images: give index"):
        remembering(PICTURES, LABELS)
    with pytest.raises(InputError, match="a term looks at more of the teacher, which has to run"):
        compared("ce+attention")(PICTURES, LABELS, teacher_logits=torch.zeros(40, 4))
    with pytest.raises(InputError, match="unknown phase 'trian': did you mean 'train'"):
        compared("ce")(PICTURES, LABELS, phase="trian")


def classifying(*after) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3), *after)


class Odd(nn.Module):
    """Of images of 5 x 5 alone, with a projection after its head that nothing uses."""

    def __init__(self):
        super().__init__()
        self.body, self.hidden = nn.Conv2d(3, 4, 3), nn.Linear(36, 16)
        self.fc, self.unused = nn.Linear(16, 4), nn.Linear(4, 8)

    def forward(self, images):
        return self.fc(self.hidden(self.body(images).relu().flatten(1)))


def test_the_head_that_a_phase_leaves_out_is_found_by_images_of_the_networks_size():
    student = Odd()
    both = objective(
        "ce+ab", student=student, teacher=Odd(), student_taps=["body"], teacher_taps=["body"], image_shape=(3, 5, 5)
    )
    trained = {id(parameter) for parameter in both.trainable("ab")}
    left = [name for name, parameter in student.named_parameters() if id(parameter) not in trained]
    assert left == ["fc.weight", "fc.bias"]


class Table(nn.Module):
    """Logits of each pixel, stored."""

    def __init__(self):
        super().__init__()
        self.register_buffer("logits", torch.randn(16, 3))

    def forward(self, images):
        return images.flatten(1) @ self.logits


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_teacher_may_have_no_parameters_or_be_compiled_by_torch_jit():
    images, labels = torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
    student, eager = classifying(), classifying()
    plain = objective("hinton", student=student, teacher=eager, image_shape=(1, 4, 4))
    for make in (torch.jit.script, lambda network: torch.jit.trace(network, images)):
        scripted = objective("hinton", student=student, teacher=make(classifying()), image_shape=(1, 4, 4))
        torch.testing.assert_close(scripted(images, labels).total, plain(images, labels).total)
        assert not any(parameter.requires_grad for parameter in scripted.teacher.network.parameters())
    table = objective("hinton", student=student, teacher=Table(), image_shape=(1, 4, 4))
    assert table(images, labels).total > 0


def test_networks_that_give_probabilities_are_refused_where_their_logits_are_looked_at():
    images, labels = torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
    plain, softmax, log_softmax = classifying(), classifying(nn.Softmax(1)), classifying(nn.LogSoftmax(1))
    for sum_of_terms, student, teacher, said in (
        ("ce+hinton", classifying(), softmax, "the teacher gives probabilities .* and hinton takes logits"),
        ("ce", softmax, None, "the student gives probabilities .* and ce takes logits"),
    ):
        with pytest.raises(InputError, match=said):
            objective(sum_of_terms, student=student, teacher=teacher, image_shape=(1, 4, 4))
    # Log-probabilities are logits but for a constant an image; and rkd compares penultimate activations alone.
    losses = [
        objective("hinton", student=classifying(), teacher=one, image_shape=(1, 4, 4))(images, labels).total
        for one in (plain, log_softmax)
    ]
    torch.testing.assert_close(*losses)
    objective("ce+rkd", student=classifying(), teacher=softmax, image_shape=(1, 4, 4))


def test_class_means_are_asked_for_in_words_and_once():
    student, teacher = networks()
    with pytest.raises(InputError, match="ce.nd needs the teacher's mean penultimate activations .*activation_means"):
        objective("ce+nd", student=student, teacher=teacher, image_shape=(1, 6, 6))
    with pytest.raises(InputError, match="needs the teacher's mean posterior of each class: give class_means"):
        objective("ce+class-means", student=student, teacher=teacher, image_shape=(1, 6, 6))
    asked = []

    def means(temperature):
        asked.append(temperature)
        soft = (teacher.eval()(PICTURES) / temperature).softmax(1).detach()
        return torch.stack([soft[LABELS == label].mean(0) for label in range(4)])

    built = objective("class-means", student=student, teacher=teacher, image_shape=(1, 6, 6), class_means=means)
    found = [built(PICTURES, LABELS).total for _ in range(2)]
    logs = (student(PICTURES) / 4).log_softmax(1)
    expected = -0.9 * 16 * (means(4.0)[LABELS] * logs).sum(1).mean()
    torch.testing.assert_close(found[1], expected)
    assert asked == [4.0, 4.0]  # the second is the one above


def test_mixed_images_have_mixed_targets():
    """Against cross-entropies with soft targets, of ce by one-hot rows and of ckd by rows of its table."""
    student = zoo.build("convnet-half", classes=4, image_shape=(1, 6, 6), mean=0.0, std=1.0)
    teacher = zoo.build("convnet", classes=4, image_shape=(1, 6, 6), mean=0.0, std=1.0)
    prior = ClassifierPrior.from_classifier(teacher, concentration=20.0)
    built = objective("ce+ckd", student=student, prior=prior, image_shape=(1, 6, 6))
    others, own = LABELS.roll(1), torch.tensor(0.7)
    student.eval()
    found = built(PICTURES, LABELS, mixed=(others, own)).parts
    posterior, temperature = built.losses["ckd"].posterior, built.losses["ckd"].temperature
    logits = student(PICTURES)
    targets = own * F.one_hot(LABELS, 4) + (1 - own) * F.one_hot(others, 4)
    torch.testing.assert_close(found["ce"], built.weights["ce"] * F.cross_entropy(logits, targets))
    soft = F.cross_entropy(logits / temperature, targets.float() @ posterior)
    torch.testing.assert_close(found["ckd"], built.weights["ckd"] * temperature**2 * soft)


def test_mixed_images_are_refused_where_a_term_is_of_single_ones():
    for words, why in (("ce+crd", "crd remembers single images"), ("ce+jacobian", "jacobian derives the output")):
        built = compared(words, labels=LABELS) if "crd" in words else compared(words)
        with pytest.raises(InputError, match=why):
            built(PICTURES, LABELS, torch.arange(len(LABELS)), mixed=(LABELS, torch.tensor(0.5)))


def test_how_far_the_training_is_is_asked_for_where_a_weight_rises():
    built = compared("ce+dkd")
    for passed in (None, -0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match=rf"passed is {passed}: a term's weight rises in the beginning"):
            built(PICTURES, LABELS, passed=passed)
    first, later = (built(PICTURES, LABELS, passed=passed).parts["dkd"] for passed in (0.0, 0.5))
    assert first == 0 < later


def test_one_image_is_too_few_where_batch_norm_makes_activations_as_wide_as_the_teachers():
    for name, options in (("nd", {"activation_means": lambda: torch.ones(4, 20)}), ("review", {})):
        built = compared(f"ce+{name}", **options)
        with pytest.raises(InputError, match=f"{name} takes statistics of batch norm .* 2 images or more, not 1"):
            built(PICTURES[:1], LABELS[:1], passed=0.5)
        assert built.eval()(PICTURES[:1], LABELS[:1], passed=0.5).total.isfinite()
