"""Contrastive representation distillation against the algorithm written out, image by image, in double precision."""

import copy
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2, chisquare
from slopes import double, slopes
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from traces import CLASSES, IMAGES, STUDENT, TEACHER, given_of, setting_of, trace_of

from distill import negatives
from distill.memory_bank import MemoryBank
from distill.negatives import OtherClasses
from distill.term import Given
from distill.terms.crd import CRD, contrastive
from priors.errors import InputError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LABELS = torch.tensor([0] * 7 + [1] * 20 + [3] * 3 + [4] * 10)[torch.randperm(40, generator=seeded(0))]


def slow_nce(scores: np.ndarray, images: int) -> float:
    """From the scores P themselves, (batch, 1 + k): -log P+ / (P+ + k/N) - sum log (k/N) / (P- + k/N)."""
    batch, k = len(scores), scores.shape[1] - 1
    total = 0.0
    for row in scores:
        total -= math.log(row[0] / (row[0] + k / images))
        for p in row[1:]:
            total -= math.log((k / images) / (p + k / images))
    return total / batch


class Slow:
    """The whole of it with loops: embeddings, scores, constants and banks."""

    def __init__(self, loss):
        self.layers = [tuple(map(double, layer.parameters())) for layer in (loss.student, loss.teacher)]
        self.banks = [double(bank.rows).copy() for bank in (loss.memory.student, loss.memory.teacher)]
        self.constants = [None, None]

    def embeddings(self, *activations):
        found = [a @ weight.T + bias for a, (weight, bias) in zip(activations, self.layers, strict=True)]
        return [z / np.sqrt((z**2).sum(1, keepdims=True)) for z in found]

    def loss(self, columns, *activations, temperature=0.07):
        total = 0.0
        for side, vectors in enumerate(self.embeddings(*activations)):
            bank = self.banks[1 - side]
            scores = np.array(
                [[math.exp(z @ bank[j] / temperature) for j in row] for z, row in zip(vectors, columns, strict=True)]
            )
            if self.constants[1 - side] is None:
                self.constants[1 - side] = scores.mean() * len(bank)
            total += slow_nce(scores / self.constants[1 - side], len(bank))
        return total

    def remember(self, index, *activations, momentum=0.5):
        for bank, vectors in zip(self.banks, self.embeddings(*activations), strict=True):
            old = bank.copy()
            for i, z in zip(index, vectors, strict=True):
                row = momentum * old[i] + (1 - momentum) * z
                bank[i] = row / math.sqrt((row**2).sum())


def columns_of(loss, given) -> np.ndarray:
    """What the loss will draw: the same generator, copied."""
    generator = torch.Generator()
    generator.set_state(given.generator.get_state())
    drawn = loss.memory.others.draw(given.labels, loss.count, generator, replacement=loss.config.replacement)
    return torch.cat([given.index[:, None], drawn], 1).numpy()


def test_the_contrastive_loss_is_its_definition():
    scores = torch.rand(4, 9, generator=seeded(0), dtype=torch.float64) * 5
    logs = scores.log()
    assert contrastive(logs[:, 0], logs[:, 1:], 30).item() == pytest.approx(slow_nce(scores.numpy(), 30), rel=1e-12)
    # scores that no exponential holds
    far = contrastive(torch.tensor([-300.0]), torch.tensor([[300.0, -300.0]]), 4)
    assert far.item() == pytest.approx(600, rel=1e-6)  # 300 each; what log(k/N) adds to one it takes from the other


@pytest.mark.parametrize("negatives", [1, 300])
@pytest.mark.parametrize("replacement", [False, True])
def test_three_steps_are_those_of_a_slow_loop(negatives, replacement):
    """By the product with all rows (300 are clipped to the 48 that exist) and by gathered ones (one negative)."""
    term = CRD(dim=6, negatives=negatives, replacement=replacement)
    loss = term.build(replace(setting_of(), keyed_draws=True))  # as runs of before draw
    assert loss.count == min(negatives, 48) and term.build(setting_of()).count == negatives
    slow = Slow(loss)
    for step in range(3):
        student, teacher, given = trace_of(STUDENT, 7, step), trace_of(TEACHER, 7, 9 + step), given_of(7, step)
        columns = columns_of(loss, given)
        activations = double(student.penultimate), double(teacher.penultimate)
        expected = slow.loss(columns, *activations)
        assert loss(student, teacher, given).item() == pytest.approx(expected, rel=2e-5)
        slow.remember(given.index.tolist(), *activations)
        for bank, rows, constant in zip(
            (loss.memory.student, loss.memory.teacher), slow.banks, slow.constants, strict=True
        ):
            assert double(bank.rows) == pytest.approx(rows, abs=1e-6)
            assert math.exp(bank.log_constant) == pytest.approx(constant, rel=1e-5)


@pytest.mark.parametrize("negatives", [1, 48])
def test_gradients_are_the_slopes_of_the_slow_loop(negatives):
    """Of both embeddings and the student's activations, although the banks have moved on when they are asked for."""
    first = CRD(dim=6, negatives=negatives).build(setting_of())
    student, teacher = trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3)
    first(student, teacher, given_of(7, 5))
    slow = Slow(first)
    s, t = double(student.penultimate), double(teacher.penultimate)
    columns = columns_of(first, given_of(7))
    slow.constants = [math.exp(bank.log_constant) for bank in (first.memory.student, first.memory.teacher)]

    def of_activations(x):
        return copy.deepcopy(first)(type(student)(student.logits, x), teacher, given_of(7))

    ours, theirs = slopes(of_activations, lambda x: slow.loss(columns, x, t), student.penultimate)
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)

    loss = copy.deepcopy(first)
    loss(student, teacher, given_of(7)).backward()
    for side, layer in enumerate((loss.student, loss.teacher)):
        weight, bias = slow.layers[side]
        direction = np.random.default_rng(side).normal(size=weight.shape)
        values = []
        for step in (1e-5, -1e-5):
            slow.layers[side] = (weight + step * direction, bias)
            values.append(slow.loss(columns, s, t))
        slow.layers[side] = (weight, bias)
        expected = (values[0] - values[1]) / 2e-5
        assert float((double(layer.weight.grad) * direction).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_products_with_all_rows_are_those_with_gathered_ones():
    bank = MemoryBank(40, 3, seeded(0))
    bank.rows = bank.rows.double()
    vectors = torch.randn(5, 3, generator=seeded(1), dtype=torch.float64)
    for count in (2, 13, 14, 100):  # 13 rows of 3 numbers hold fewer than 40 products, 14 more
        columns = torch.randint(40, (5, count), generator=seeded(count))
        expected = [[float(v @ bank.rows[j]) for j in row] for v, row in zip(vectors, columns, strict=True)]
        assert double(bank.products(vectors, columns)) == pytest.approx(np.array(expected), abs=1e-14)


def test_the_bank_starts_uniform_and_by_its_generator():
    rows = MemoryBank(2000, 128, seeded(3)).rows
    assert torch.equal(rows, MemoryBank(2000, 128, seeded(3)).rows)
    bound = (3 / 128) ** 0.5
    assert float(rows.abs().max()) <= bound
    # 256,000 draws in 50 bins: fails once in 1e4 seeds
    assert chisquare(np.histogram(double(rows), 50, (-bound, bound))[0]).pvalue > 1e-4


def test_rows_move_and_stay_unit_vectors_and_the_last_of_several_wins():
    bank = MemoryBank(6, 3, seeded(0))
    bank.rows.copy_(torch.eye(3).repeat(2, 1))
    bank.remember(torch.tensor([1, 4, 1]), torch.tensor([[9.0, 9, 9], [0, 0, 1], [1, 0, 0]]), momentum=0.25)
    expected = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    expected[1] = np.array([3, 1, 0]) / math.sqrt(10)  # (.75, .25, 0) over its norm
    expected[4] = np.array([0, 1, 3]) / math.sqrt(10)
    assert double(bank.rows) == pytest.approx(expected, abs=1e-7)


def test_the_constant_is_that_of_the_first_batch():
    loss = CRD().build(setting_of())
    banks = loss.memory.student, loss.memory.teacher
    assert all(bank.log_constant.isnan() for bank in banks)
    first = None
    for step in range(3):
        loss(trace_of(STUDENT, 7, step), trace_of(TEACHER, 7, 9 + step), given_of(7, step))
        found = [bank.log_constant.item() for bank in banks]
        first = first or found
        assert found == first and all(map(math.isfinite, found))


def test_a_stop_in_between_changes_nothing():
    """Weights, banks and constants after four steps, with everything made anew after two of them."""

    def steps(loss, optimiser, numbers):
        for n in numbers:
            optimiser.zero_grad()
            loss(trace_of(STUDENT, 7, n), trace_of(TEACHER, 7, 9 + n), given_of(7, n)).backward()
            optimiser.step()

    def fresh(seed):
        loss = CRD(dim=8).build(replace(setting_of(), generator=seeded(seed)))
        return loss, torch.optim.SGD(loss.parameters(), lr=0.1)

    through, optimiser = fresh(1)
    steps(through, optimiser, range(4))
    before, optimiser = fresh(1)
    steps(before, optimiser, range(2))
    after, optimiser = fresh(2)
    after(trace_of(STUDENT, 7, 5), trace_of(TEACHER, 7, 5), given_of(7))  # it had even begun
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    after.memory.load_state_dict(copy.deepcopy(before.memory.state_dict()))
    steps(after, optimiser, range(2, 4))
    for one, other in ((through, after), (through.memory, after.memory)):
        assert len(one.state_dict()) == 4
        for key, values in one.state_dict().items():
            assert torch.equal(values, other.state_dict()[key])


def test_a_state_before_the_first_batch_leaves_the_constant_open():
    loss = CRD().build(setting_of())
    empty = copy.deepcopy(loss.memory.state_dict())
    loss(trace_of(STUDENT, 7, 1), trace_of(TEACHER, 7, 2), given_of(7))
    loss.memory.load_state_dict(empty)
    assert loss(trace_of(STUDENT, 7, 1), trace_of(TEACHER, 7, 2), given_of(7)).isfinite()
    assert loss.memory.student.log_constant.isfinite()


def test_processes_share_banks_and_constants():
    """Two that take half of a batch each have the banks of one that takes the whole, and one constant between them."""
    barrier, shelf = threading.Barrier(2, timeout=30), {}

    def gather(rank):
        def gathered(rows):
            shelf[rank] = rows
            barrier.wait()
            together = torch.cat([shelf[0], shelf[1]])
            barrier.wait()
            return together

        return gathered

    student, teacher, given = trace_of(STUDENT, 8, 2), trace_of(TEACHER, 8, 3), given_of(8)
    whole = CRD().build(setting_of())
    whole(student, teacher, given)
    halves = [CRD().build(replace(setting_of(), gather=gather(rank))) for rank in range(2)]

    def run(rank):
        mine = slice(4 * rank, 4 * rank + 4)
        part = [type(trace)(trace.logits[mine], trace.penultimate[mine]) for trace in (student, teacher)]
        halves[rank](*part, Given(given.labels[mine], given.index[mine], seeded(rank)))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for key, values in halves[0].memory.state_dict().items():
        assert torch.equal(values, halves[1].memory.state_dict()[key])
        if "rows" in key:
            assert torch.allclose(values, whole.memory.state_dict()[key], atol=1e-6)
        else:
            assert values.isfinite()


@pytest.mark.parametrize("replacement", [False, True])
def test_negatives_are_of_other_classes(replacement):
    others = OtherClasses(LABELS, CLASSES)
    assert others.most == 20
    labels = torch.arange(CLASSES)  # no image is of class 2
    drawn = others.draw(labels, 20, seeded(0), replacement=replacement)
    assert not (LABELS[drawn] == labels[:, None]).any()
    again = others.draw(labels, 20, seeded(0), replacement=replacement)
    assert torch.equal(drawn, again)
    if not replacement:
        assert all(len(set(row)) == 20 for row in drawn.tolist())
        assert set(drawn[1].tolist()) == set((LABELS != 1).nonzero().flatten().tolist())


def test_where_images_are_scarce_rows_are_drawn_as_numpys_choice_draws_them():
    """With replacement where k is more than there are, else without, as in the code of Tian et al. 2020."""
    labels = torch.tensor([0] * 9 + [1] * 3 + [2])
    others, each = OtherClasses(labels, 3), torch.tensor([0, 1, 2] * 2000)
    assert others.most == 4
    for k in (3, 4, 6, 10, 12, 15):
        drawn = others.draw(each, k, seeded(k), replacement=False)
        assert drawn.shape == (6000, k)
        for label in range(3):
            there, rows = (labels != label).nonzero().flatten(), drawn[label::3]
            assert bool(torch.isin(rows, there).all())
            different = torch.tensor([len(set(row)) for row in rows.tolist()])
            assert bool((different == k).all()) == (k <= len(there))
            counts = torch.bincount(rows.flatten(), minlength=13)[there].double()
            if k <= len(there):  # the variance of a count is (M - k) / (M - 1) of that with replacement
                left = (len(there) - k) / (len(there) - 1)
                assert k == len(there) or chi2.sf(chisquare(counts).statistic / left, len(there) - 1) > 1e-5
            else:  # 18 tests: one fails once in 5,000 seeds
                assert chisquare(counts).pvalue > 1e-5


def test_negatives_are_uniform():
    """Chi-square for each class, five of them: fails once in 2e4 seeds."""
    others = OtherClasses(LABELS, CLASSES)
    for label in range(CLASSES):
        drawn = others.draw(torch.tensor([label] * 50), 2000, seeded(label))
        counts = torch.bincount(drawn.flatten(), minlength=len(LABELS))[LABELS != label]
        assert chisquare(counts.numpy()).pvalue > 1e-5


def test_negatives_without_replacement_are_uniform():
    """Counts of 8 out of M a row: their chi-square is (M - 8) / (M - 1) times that with replacement. Once in 2e4."""
    others = OtherClasses(LABELS, CLASSES)
    for label in range(CLASSES):
        drawn = others.draw(torch.tensor([label] * 5000), 8, seeded(label), replacement=False)
        counts = torch.bincount(drawn.flatten(), minlength=len(LABELS))[LABELS != label].double().numpy()
        m = len(counts)
        spread = chisquare(counts).statistic * (m - 1) / (m - 8)
        assert chi2.sf(spread, m - 1) > 1e-5


@pytest.fixture
def few_keys(monkeypatch):
    """Draws without a random number for each image also of a set as small as these."""
    monkeypatch.setattr(negatives, "_KEYS", 0)


@pytest.mark.usefixtures("few_keys")
def test_pairs_of_a_large_set_are_uniform():
    """Every pair of different images of other classes alike: chi-square for each class, fails once in 2e4 seeds."""
    others = OtherClasses(LABELS, CLASSES)
    for label in range(CLASSES):
        drawn = others.draw(torch.tensor([label] * 20_000), 2, seeded(label), replacement=False).sort(1).values
        assert bool((drawn[:, 0] < drawn[:, 1]).all()) and not (LABELS[drawn] == label).any()
        there = (LABELS != label).nonzero().flatten()
        counts = torch.bincount(drawn[:, 0] * 40 + drawn[:, 1], minlength=1600).view(40, 40)[there][:, there]
        first, second = np.triu_indices(len(there), 1)
        assert chisquare(counts.numpy()[first, second]).pvalue > 1e-5


@pytest.mark.usefixtures("few_keys")
def test_parts_of_a_batch_draw_as_the_whole():
    others = OtherClasses(LABELS, CLASSES)
    labels = torch.tensor([0, 1, 3, 4, 4, 1])
    whole = others.draw(labels, 3, seeded(5), replacement=False)
    halves = [
        others.draw(labels[3 * part : 3 * part + 3], 3, seeded(5), replacement=False, part=part, parts=2)
        for part in (0, 1)
    ]
    assert torch.equal(whole, torch.cat(halves))


def test_the_first_different_numbers_are_those_of_a_loop():
    drawn = torch.randint(30, (200, 25), generator=seeded(0))
    for row, found in zip(drawn.tolist(), negatives.first_different(drawn, 8).tolist(), strict=True):
        assert found == list(dict.fromkeys(row))[:8]
    short = negatives.first_different(torch.tensor([[4, 4, 4, 2, 4]]), 3)[0].tolist()
    assert len(short) == 3 and set(short) == {2, 4}  # too few: some again, none made up


@pytest.mark.parametrize(("count", "images"), [(1, 5), (2, 4097), (60, 241), (400, 1601), (1000, 4097)])
def test_enough_are_drawn(count, images):
    """The chance of too few different ones, exactly: by the number of them, draw after draw."""
    chance, different = np.zeros(count + 1), np.arange(count + 1)
    chance[0] = 1
    for _ in range(negatives.enough_for(count, images)):
        new = chance * (1 - different / images)
        chance = np.append(chance[:-1] * different[:-1] / images, chance[-1])
        chance[1:] += new[:-1]
    assert chance[:-1].sum() < 1e-12


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        sizes = [one.numel() for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return made


def test_no_table_of_all_images_is_made_but_for_runs_of_before():
    labels = torch.arange(20_000) % 10
    drawn = {}
    for keys in (False, True):
        others = OtherClasses(labels, 10, keys)
        with Largest() as largest:
            drawn[keys] = others.draw(labels[:8], 100, seeded(1), replacement=False)
        assert (largest.numbers >= 8 * 20_000) == keys
        assert largest.numbers <= 8 * (20_000 if keys else 200)
        assert all(len(set(row)) == 100 for row in drawn[keys].tolist())
    # the stream of before: the least of random numbers, those of the own class left out
    random = torch.rand(8, 20_000, generator=seeded(1), dtype=torch.float64)
    order = labels.argsort(stable=True)
    random[labels[order] == labels[:8, None]] = 2
    expected = order[random.argsort(1)[:, :100]]
    assert torch.equal(drawn[True].sort(1).values, expected.sort(1).values)


def test_autocast_changes_nothing():
    found = []
    for enabled in (False, True):
        student, teacher = trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3)
        loss = CRD().build(setting_of())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(student, teacher, given_of(7))
        value.backward()
        found.append((value.detach(), student.penultimate.grad, loss.teacher.weight.grad, loss.memory.student.rows))
    for plain, cast in zip(*found, strict=True):
        assert torch.equal(plain, cast)


def test_without_gradients_it_is_the_same_number():
    traces = trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3)
    expected = CRD().build(setting_of())(*traces, given_of(7)).item()
    with torch.no_grad():
        assert CRD().build(setting_of())(*traces, given_of(7)).item() == expected
    with torch.inference_mode():
        assert CRD().build(setting_of())(*traces, given_of(7)).item() == expected


@pytest.mark.gpu
def test_a_gpu_with_a_generator_of_the_cpu_gives_the_same():
    found = []
    for device in ("cpu", "cuda"):
        loss = CRD().build(setting_of()).to(device)
        loss.memory.to(device)
        s, t = (
            type(trace)(trace.logits.detach().to(device), trace.penultimate.detach().to(device))
            for trace in (trace_of(STUDENT, 7, 2), trace_of(TEACHER, 7, 3))
        )
        given = given_of(7)
        given = Given(given.labels.to(device), given.index.to(device), given.generator)
        loss(s, t, given).backward()
        found.append([x.cpu() for x in (loss.student.weight.grad, loss.memory.teacher.rows)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_what_cannot_be_followed_is_refused():
    for options in (
        {"dim": 0},
        {"negatives": 0},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"momentum": 1.0},
        {"momentum": -0.1},
    ):
        with pytest.raises(InputError, match=f"--crd.{next(iter(options))} .*expected"):
            CRD(**options)
    with pytest.raises(InputError, match="crd remembers every training image"):
        CRD().build(replace(setting_of(), labels=None))
    with pytest.raises(InputError, match="60 training images of 1 class"):
        CRD().build(replace(setting_of(), labels=torch.zeros(IMAGES, dtype=torch.int64)))
