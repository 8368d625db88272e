import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import nn
from torchvision import models

from priors import ClassifierPrior
from priors.errors import InputError
from priors.files.tensors import read_tensors, write_tensors
from priors.model.provenance import Provenance
from priors.zoo import build, load, save, wrap

NAMES = ("ant", "bee", "cat", "dog")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def weight_matrix(m=5, classes=4, dtype=torch.float64):
    return 3 * torch.randn(classes, m, generator=generator(), dtype=dtype)


@pytest.fixture
def prior():
    return ClassifierPrior.from_weight(weight_matrix(), [2.0, 20.0, 7.5, 0.0], class_names=NAMES)


def test_log_prob_against_scipy(prior):
    activations = torch.randn(6, 3, 5, generator=generator(1), dtype=torch.float64) * 10
    directions = (activations / activations.norm(dim=-1, keepdim=True)).numpy()
    expected = np.empty((6, 3, 4))
    for number, kappa in enumerate((2.0, 20.0, 7.5)):
        mu = prior.weight[number].numpy()
        expected[..., number] = stats.vonmises_fisher(mu / np.linalg.norm(mu), kappa).logpdf(directions)
    expected[..., 3] = -math.log(2 * math.pi**2.5 / math.gamma(2.5))  # kappa = 0: uniform
    np.testing.assert_allclose(prior.log_prob(activations), expected, rtol=1e-12, atol=1e-12)
    odds = np.exp(expected)
    np.testing.assert_allclose(prior.posterior(activations), odds / odds.sum(-1, keepdims=True), rtol=1e-11, atol=1e-13)
    for number in range(4):
        np.testing.assert_allclose(prior[number].log_prob(torch.tensor(directions)), expected[..., number], rtol=1e-11)


def test_posterior_of_equal_concentrations_is_the_normalised_classifiers_softmax():
    weight = weight_matrix(dtype=torch.float32)
    prior = ClassifierPrior.from_weight(weight, 30)
    activations = torch.randn(50, 5, generator=generator(2))
    cosines = nn.functional.cosine_similarity(activations[:, None], weight[None], dim=-1)
    torch.testing.assert_close(prior.posterior(activations), (30 * cosines).softmax(-1))
    assert prior.posterior(activations).dtype == torch.float32
    bfloat = prior.posterior(activations.bfloat16())
    assert bfloat.dtype == torch.float32
    torch.testing.assert_close(bfloat, prior.posterior(activations), rtol=0, atol=0.2)


def test_log_prob_has_gradients(prior):
    activations = torch.randn(3, 5, generator=generator(3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(prior.log_prob, activations)
    assert not list(prior.parameters())


def test_samples_follow_their_labels(prior):
    labels = torch.tensor([[0, 1, 2], [3, 1, 0]])
    draws = prior.sample(labels.expand(20_000, 2, 3), generator(4))
    assert draws.shape == (20_000, 2, 3, 5)
    torch.testing.assert_close(draws.norm(dim=-1), torch.ones(20_000, 2, 3, dtype=torch.float64))
    lengths = special.ive(2.5, (2.0, 20.0, 7.5)) / special.ive(1.5, (2.0, 20.0, 7.5))
    for at, label in np.ndenumerate(labels.numpy()):
        mean = draws[(slice(None), *at)].mean(0)
        mu = prior.weight[label] / prior.weight[label].norm()
        # Each coordinate of the mean has a deviation of at most 1 / sqrt(20000) = .0071: five of them, 30 coordinates,
        # fail once in 6e4 seeds.
        torch.testing.assert_close(mean, (0 if label == 3 else lengths[label]) * mu, rtol=0, atol=0.0354)
    assert torch.equal(prior.sample(labels, generator(5)), prior.sample(labels, generator(5)))
    assert not torch.equal(prior.sample(labels, generator(5)), prior.sample(labels, generator(6)))
    assert prior.sample(["bee", 3], generator(7)).shape == (2, 5)
    assert prior.sample(torch.tensor(2, dtype=torch.int32), generator(7)).shape == (5,)
    assert prior.sample(torch.empty(0, dtype=torch.long)).shape == (0, 5)


def test_a_class_is_taken_by_number_name_slice_or_labels(prior):
    unit = prior.weight / prior.weight.norm(dim=1, keepdim=True)
    assert prior["bee"].batch_shape == () and prior["bee"].event_shape == (5,)
    torch.testing.assert_close(prior["bee"].loc, unit[1])
    assert prior[1].concentration == 20 and torch.equal(prior[1].loc, prior["bee"].loc)
    assert prior[1:].batch_shape == (3,) and torch.equal(prior[1:].concentration, prior.concentration[1:])
    batch = prior.distributions(torch.tensor([[2, 0]]))
    assert batch.batch_shape == (1, 2) and batch.concentration.tolist() == [[7.5, 2.0]]
    torch.testing.assert_close(batch.loc[0], unit[[2, 0]])
    assert prior.distributions(["cat", 0]).concentration.tolist() == [7.5, 2.0]
    assert [d.concentration.item() for d in prior] == [2.0, 20.0, 7.5, 0.0] and len(prior) == prior.classes == 4
    assert prior.dim == 5


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda p: p[4], "label 4 is out of range: the classes are 0 to 3"),
        (lambda p: p[-1], "label -1 is out of range"),
        (lambda p: p["bea"], "unknown class 'bea': did you mean 'bee'"),
        (lambda p: p.sample(torch.tensor([0, 4])), "label 4 is out of range"),
        (lambda p: p.sample(torch.tensor([-1, 0])), "label -1 is out of range"),
        (lambda p: p.sample([0, "dgo"]), "did you mean 'dog'"),
        (lambda p: p.distributions(torch.tensor([[9]])), "label 9 is out of range"),
        (lambda p: p.log_prob(torch.ones(3, 6, dtype=torch.float64)), r"shape \(3, 6\): \(..., 5\) was expected"),
        (lambda p: p.log_prob(torch.zeros(3, 5, dtype=torch.float64)), "3 activations are zero or not finite"),
        (lambda p: p.posterior(torch.full((1, 5), torch.nan)), "1 activations are zero or not finite"),
        (lambda p: p.class_posterior(1), "samples is 1"),
        (lambda p: p.with_concentration(-1), "concentration of class 'ant' is -1.0"),
        (lambda p: p.with_concentration([1, 2, math.nan, 3]), "concentration of class 'cat' is nan"),
        (lambda p: p.with_concentration(math.inf), "is inf: a finite number"),
        (lambda p: p.with_concentration([1, 2]), r"shape \(2,\): one number, or one for each of 4 classes"),
        (lambda p: p.with_concentration(torch.ones(1, 4)), r"shape \(1, 4\)"),
        (lambda p: p.with_concentration("nroms"), "unknown concentration strategy 'nroms': did you mean 'norms'"),
        (lambda p: p.with_concentration("norms"), r"give activations \(N, m\) or activation_norm"),
        (lambda p: p.with_concentration("norms", activation_norm=0), "mean norm of the activations is 0"),
        (lambda p: p.with_concentration("norms", activations=torch.ones(2, 6)), r"\(2, 6\): \(N, 5\) was expected"),
        (lambda p: p.with_concentration("norms", activations=torch.full((2, 5), torch.inf)), "not finite"),
        (lambda p: p.with_concentration("norms", activations=torch.zeros(2, 5)), "is 0.0"),
    ],
)
def test_bad_use_is_said_in_one_line(prior, use, said):
    with pytest.raises(InputError, match=said) as error:
        use(prior)
    assert "\n" not in str(error.value)


def spoiled(row, value):
    weight = weight_matrix()
    weight[row] = value
    return weight


@pytest.mark.parametrize(
    ("weight", "options", "said"),
    [
        (spoiled(2, 0.0), {"class_names": NAMES}, "weight of class 'cat' is zero"),
        (spoiled(1, math.nan), {}, "weight of class '1' has values that are not finite"),
        (spoiled(0, math.inf), {}, "weight of class '0' has values that are not finite"),
        (weight_matrix(m=1), {}, "1 columns: directions need at least 2"),
        (weight_matrix(classes=1), {}, "1 class: at least two"),
        (weight_matrix(), {"class_names": ("a", "b")}, "2 class names were given for 4 rows"),
        (weight_matrix(), {"class_names": ("a", "b", "a", "c")}, "'a' is given twice"),
    ],
)
def test_bad_weights_are_said_in_one_line(weight, options, said):
    with pytest.raises(InputError, match=said) as error:
        ClassifierPrior.from_weight(weight, 20, **options)
    assert "\n" not in str(error.value)


def test_concentrations_are_a_number_one_a_class_or_a_strategy():
    weight = weight_matrix()
    given = ClassifierPrior.from_weight(weight, 20)
    assert given.concentration.tolist() == [20.0] * 4 and given.provenance.concentration == "20, given for all classes"
    for many in ([1, 2, 3, 4], torch.tensor([1, 2, 3, 4]), np.array([1.0, 2.0, 3.0, 4.0]).tolist()):
        prior = given.with_concentration(many)
        assert prior.concentration.tolist() == [1.0, 2.0, 3.0, 4.0]
        assert prior.provenance.concentration == "one a class, given"
    assert given.with_concentration(torch.tensor(3.0)).concentration.tolist() == [3.0] * 4
    assert given.concentration.tolist() == [20.0] * 4, "a new prior leaves the old one alone"
    activations = torch.tensor([[3.0, 4, 0, 0, 0], [0, 0, 0, 0, 15.0]])
    by_norms = ClassifierPrior.from_weight(weight, "norms", activations=activations)
    torch.testing.assert_close(by_norms.concentration, 10 * weight.square().sum(1).sqrt())
    assert by_norms.provenance.concentration.endswith("the mean activation norm 10")
    again = given.with_concentration("norms", activation_norm=10)
    torch.testing.assert_close(again.concentration, by_norms.concentration)


def test_weight_and_bias_are_kept_as_they_were():
    weight, bias = weight_matrix(dtype=torch.float32), torch.randn(4)
    prior = ClassifierPrior.from_weight(weight, 20, bias)
    assert torch.equal(prior.weight, weight) and torch.equal(prior.bias, bias)
    before = weight.clone()
    weight.zero_()
    assert torch.equal(prior.weight, before), "a prior is a copy"
    half = ClassifierPrior.from_weight(before.bfloat16(), 20)
    assert half.weight.dtype == torch.float32 and half.sample(torch.tensor([0])).dtype == torch.float32


def test_class_posterior_against_quadrature_on_the_circle():
    angles, kappas = (0.0, 1.0, 2.5), (2.0, 5.0, 0.5)
    weight = torch.tensor([[math.cos(a), math.sin(a)] for a in angles], dtype=torch.float64)
    prior = ClassifierPrior.from_weight(weight, kappas)
    found = prior.class_posterior(4000)
    assert found.samples == 4000 and found.table.dtype == torch.float64
    torch.testing.assert_close(found.table.sum(1), torch.ones(3, dtype=torch.float64))

    def density(x, j):
        return stats.vonmises.pdf(x, kappas[j], loc=angles[j])

    for i in range(3):
        for j in range(3):
            exact, _ = integrate.quad(
                lambda x, i=i, j=j: density(x, i) * density(x, j) / sum(density(x, k) for k in range(3)),
                -math.pi,
                math.pi,
            )
            # Nine entries within five standard errors: fails once in 2e5 seeds.
            assert abs(found.table[i, j] - exact) < 5 * found.standard_error[i, j]
    assert 0 < found.standard_error.max() < 0.01


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("norm", [None, 3.0])
def test_class_posterior_at_a_temperature_and_by_the_head_against_quadrature(temperature, norm):
    """On the circle; the head's logits are s W a + b. Drawn until each standard error is .002 at most."""
    angles, kappa, lengths, bias = (0.0, 1.0, 2.5), 4.0, (1.0, 0.5, 2.0), (0.3, -0.2, 0.1)
    weight = torch.tensor([[r * math.cos(a), r * math.sin(a)] for r, a in zip(lengths, angles, strict=True)]).double()
    prior = ClassifierPrior.from_weight(weight, kappa, torch.tensor(bias).double())
    logits = "prior" if norm is None else "head"
    found = prior.class_posterior(logits=logits, norm=norm, temperature=temperature, standard_error=2e-3)
    assert found.standard_error.max() <= 2e-3 and found.samples >= 1000

    def logit(x, j):
        cosine = math.cos(x - angles[j])
        return kappa * cosine if norm is None else norm * lengths[j] * cosine + bias[j]

    for i in range(3):
        for j in range(3):
            exact, _ = integrate.quad(
                lambda x, i=i, j=j: (
                    stats.vonmises.pdf(x, kappa, loc=angles[i])
                    * special.softmax([logit(x, k) / temperature for k in range(3)])[j]
                ),
                -math.pi,
                math.pi,
            )
            # Four times nine entries within five standard errors: fails once in 4e4 seeds.
            assert abs(found.table[i, j] - exact) < 5 * found.standard_error[i, j]


def test_class_posterior_is_reproducible_and_its_error_shrinks(prior):
    first, second = prior.class_posterior(500), prior.class_posterior(500)
    assert torch.equal(first.table, second.table)
    assert not torch.equal(first.table, prior.class_posterior(500, generator(9)).table)
    ratio = first.standard_error.mean() / prior.class_posterior(50_000).standard_error.mean()
    assert 8 < ratio < 12.5, "a hundred times the draws, a tenth of the error"
    single = ClassifierPrior.from_weight(weight_matrix(dtype=torch.float32), 10).class_posterior(100)
    assert single.table.dtype == torch.float64
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.samples = 3


def test_class_table(prior):
    rows = prior.class_table()
    unit = prior.weight / prior.weight.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T - 2 * torch.eye(4)
    assert [row.name for row in rows] == list(NAMES)
    for number, row in enumerate(rows):
        assert row.norm == pytest.approx(prior.weight[number].norm().item())
        assert row.concentration == prior.concentration[number].item()
        kappa = row.concentration
        length = special.ive(2.5, kappa) / special.ive(1.5, kappa) if kappa else 0.0
        assert row.mean_resultant_length == pytest.approx(length, abs=1e-14)
        assert row.nearest == NAMES[cosines[number].argmax()] and row.cosine == pytest.approx(
            cosines[number].max().item()
        )


def test_nearest_classes_are_right_beyond_one_block_of_them():
    weight = torch.randn(1500, 4, generator=generator())
    rows = ClassifierPrior.from_weight(weight, 1).class_table()
    unit = nn.functional.normalize(weight.double(), dim=1)
    for number in (0, 1023, 1024, 1499):
        cosine = unit @ unit[number]
        cosine[number] = -2
        assert rows[number].nearest == str(cosine.argmax().item())


def test_only_some_classes_are_summarised():
    prior = ClassifierPrior.from_weight(torch.randn(1500, 4, generator=generator()), torch.linspace(1, 9, 1500))
    rows, numbers = prior.class_table(), [1499, 3, 3, *range(1030)]
    some = prior.class_table(numbers)
    assert [(row.name, row.nearest) for row in some] == [(rows[n].name, rows[n].nearest) for n in numbers]
    for field in ("norm", "concentration", "mean_resultant_length", "cosine"):
        found = [getattr(row, field) for row in some]
        assert found == pytest.approx([getattr(rows[n], field) for n in numbers], rel=1e-14)
    assert prior.class_table([]) == ()
    for number in (-1, 1500):
        with pytest.raises(InputError, match="numbers of 1500 classes were expected, 0 to 1499"):
            prior.class_table([0, number])


def test_saved_priors_come_back(tmp_path):
    path = tmp_path / "prior.safetensors"
    prior = ClassifierPrior.from_weight(
        weight_matrix(dtype=torch.float32), [1, 2, 3, 4], torch.ones(4), NAMES, Provenance("wrn-16-2", "cifar10")
    )
    prior.save(path)
    again = ClassifierPrior.load(path)
    for name in ("weight", "bias", "concentration", "loc"):
        assert torch.equal(getattr(again, name), getattr(prior, name))
    assert again.class_names == NAMES
    assert again.provenance == prior.provenance == Provenance("wrn-16-2", "cifar10", "one a class, given")
    plain = ClassifierPrior.from_weight(weight_matrix(), 20)
    plain.save(path)
    assert ClassifierPrior.load(path).bias is None and ClassifierPrior.load(path).weight.dtype == torch.float64


def test_files_that_hold_no_prior_are_said(tmp_path):
    path = tmp_path / "prior.safetensors"
    with pytest.raises(InputError, match="no prior at"):
        ClassifierPrior.load(path)
    good = ClassifierPrior.from_weight(weight_matrix(), 20)
    good.save(path)
    tensors, metadata = read_tensors(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="truncated"):
        ClassifierPrior.load(path)
    write_tensors(path, tensors)
    with pytest.raises(InputError, match="holds no prior: format 'penult prior 2' was expected, not None"):
        ClassifierPrior.load(path)
    for spoil in (
        {"class_names": "["},
        {"class_names": json.dumps(["a"])},
        {"provenance": json.dumps({"colour": "red"})},
    ):
        write_tensors(path, tensors, metadata | spoil)
        with pytest.raises(InputError, match="holds no prior that can be used"):
            ClassifierPrior.load(path)
    write_tensors(path, {"weight": tensors["weight"]}, metadata)
    with pytest.raises(InputError, match="holds no prior that can be used: 'concentration'"):
        ClassifierPrior.load(path)
    write_tensors(path, tensors | {"concentration": -tensors["concentration"]}, metadata)
    with pytest.raises(InputError, match="of class '0' is -20.0"):
        ClassifierPrior.load(path)


def test_moving_keeps_directions_unit_in_the_new_type():
    prior = ClassifierPrior.from_weight(weight_matrix(dtype=torch.float32), 1e6).double()
    torch.testing.assert_close(prior.loc.norm(dim=1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-15)
    assert prior.concentration.dtype == torch.float64 and prior.sample([0]).dtype == torch.float64
    other = ClassifierPrior.from_weight(weight_matrix(m=5).flip(0), 3).double()
    prior.load_state_dict(other.state_dict())
    assert torch.equal(prior.loc, other.loc) and prior.concentration.tolist() == [3.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", ["5e-13", "1e-30", "1e30", "tiny", "large"])
def test_rows_and_activations_of_any_norm_have_a_direction(dtype, length):
    """Against the same directions of norm one: a norm is only a factor, a power of two away to the bit."""
    ends = {"tiny": 256 * torch.finfo(dtype).tiny, "large": torch.finfo(dtype).max / 8}
    factor = 2.0 ** round(math.log2(ends.get(length) or float(length)))
    weight = weight_matrix(m=6, dtype=dtype).clamp(-2, 2)
    scaled, plain = (ClassifierPrior.from_weight(rows, 30) for rows in (factor * weight, weight))
    assert torch.equal(scaled.loc, plain.loc)
    assert torch.equal(plain.loc, nn.functional.normalize(weight.double(), dim=1).to(dtype))
    assert torch.equal(scaled.log_prob(factor * weight), plain.log_prob(weight))
    assert (scaled.posterior(weight).diagonal() > 0.9).all()
    assert torch.equal(scaled.class_posterior(50).table, plain.class_posterior(50).table)
    for row, other in zip(scaled.class_table(), plain.class_table(), strict=True):
        assert row.norm == pytest.approx(factor * other.norm, rel=1e-12) and row.cosine == other.cosine
    by_norms = ClassifierPrior.from_weight(factor * weight, "norms", activation_norm=1 / factor)
    torch.testing.assert_close(by_norms.concentration, weight.norm(dim=1))


def test_from_a_zoo_classifier(tmp_path):
    network = build("mlp", classes=NAMES, image_shape=(1, 4, 4), penultimate=6)
    network.provenance["data"] = "digits"
    prior = ClassifierPrior.from_classifier(network, 20)
    assert torch.equal(prior.weight, network.head.weight) and torch.equal(prior.bias, network.head.bias)
    assert prior.class_names == NAMES and not prior.weight.requires_grad
    assert prior.provenance == Provenance("mlp", "digits", "20, given for all classes")
    save(network, tmp_path)
    again = ClassifierPrior.from_classifier(load(tmp_path), 20)
    assert torch.equal(again.loc, prior.loc) and again.provenance == prior.provenance
    activations = network.penultimate(torch.rand(32, 1, 4, 4)).detach()
    by_norms = ClassifierPrior.from_classifier(network, "norms", activations=activations)
    expected = network.head.weight.detach().norm(dim=1) * activations.norm(dim=1).mean()
    torch.testing.assert_close(by_norms.concentration, expected)


def test_from_torchvision_wrapped_and_any_other_module():
    resnet = models.resnet18(num_classes=6)
    prior = ClassifierPrior.from_classifier(resnet, 20)
    assert torch.equal(prior.weight, resnet.fc.weight) and prior.provenance.network == "ResNet"
    assert prior.class_names == tuple("012345") and prior.dim == 512
    wrapped = ClassifierPrior.from_classifier(wrap(resnet, class_names=list("abcdef")), 20)
    assert torch.equal(wrapped.weight, prior.weight) and wrapped.class_names == tuple("abcdef")
    assert wrapped.provenance.network == "ResNet"
    bare = nn.Linear(3, 4, bias=False)
    assert ClassifierPrior.from_classifier(bare, 5).bias is None
    two = nn.ModuleDict({"left": nn.Linear(8, 5), "right": nn.Linear(8, 4)})
    with pytest.raises(InputError, match="one of left, right"):
        ClassifierPrior.from_classifier(two, 5)
    assert ClassifierPrior.from_classifier(two, 5, head="right").classes == 4
    with pytest.raises(InputError, match="'layer4' is a Sequential: a linear layer"):
        ClassifierPrior.from_classifier(resnet, 5, head="layer4")


@pytest.mark.gpu
def test_on_a_gpu_nothing_waits_for_the_device(no_waits):
    prior = ClassifierPrior.from_weight(weight_matrix(dtype=torch.float32), [1, 20, 80, 5]).cuda()
    labels = torch.randint(4, (64,), device="cuda")
    draws_from = torch.Generator("cuda").manual_seed(0)
    prior.sample(labels, draws_from)
    with no_waits():
        draws = prior.sample(labels, draws_from)
        posterior = prior.posterior(draws)
    assert posterior.device.type == "cuda"
    torch.testing.assert_close(prior.cpu().posterior(draws.cpu()), posterior.cpu(), rtol=1e-4, atol=1e-5)
    cuda = prior.cuda().class_posterior(20_000)
    exact = prior.cpu().class_posterior(20_000)
    error = (cuda.standard_error.cpu() ** 2 + exact.standard_error**2).sqrt()
    assert ((cuda.table.cpu() - exact.table).abs() < 5 * error).all()


@pytest.mark.parametrize("field", ["network", "dataset", "concentration", "gauge"])
def test_a_provenance_that_is_no_text_is_damage(tmp_path, field):
    """A card or a page would show it, whatever it is."""
    path = tmp_path / "prior.safetensors"
    ClassifierPrior.from_weight(weight_matrix(), 20).save(path)
    tensors, metadata = read_tensors(path)
    told = json.loads(metadata["provenance"]) | {field: [7]}
    write_tensors(path, tensors, metadata | {"provenance": json.dumps(told)})
    with pytest.raises(InputError, match=rf"no prior that can be used: '{field}' is \[7\], str was expected"):
        ClassifierPrior.load(path)
