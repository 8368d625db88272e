"""Regularisers against closed forms and finite differences; trainings with them, and without any by strength 0."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from apps.classifiers.regularisation import Regularisation, last_layer, squared_norm
from apps.classifiers.regularisers import parse_regularisers
from priors import zoo
from priors.errors import InputError

SHAPE = (2, 5, 6)


def network(norms: bool = True) -> nn.Sequential:
    """Two convolutions and a linear layer in double precision, with statistics and biases of no special values."""
    torch.manual_seed(3)
    layers = [nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2)]
    layers += [nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    made = nn.Sequential(*(one for one in layers if norms or not isinstance(one, nn.BatchNorm2d))).double()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.running_mean, -1), (module.running_var, 0.5), (module.weight, 0.5)):
                nn.init.uniform_(tensor, low, low + 1.5)
            nn.init.uniform_(module.bias, -1, 1)
    return made


IMAGES = torch.rand(5, *SHAPE, dtype=torch.float64, generator=torch.manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0])


def own(logits):
    return logits.gather(1, LABELS[:, None]).squeeze(1)


def central(function, tensor, step=1e-6):
    """Derivatives of what `function` gives in each number of a tensor, which is changed in place meanwhile."""
    found = []
    with torch.no_grad():
        for index in np.ndindex(*tensor.shape):
            kept = tensor[index].item()
            tensor[index] = kept + step
            above = function()
            tensor[index] = kept - step
            found.append((above - function()) / (2 * step))
            tensor[index] = kept
    return torch.stack(found, -1)


def losses_of(made, *words, images=IMAGES, output=own, **how):
    return Regularisation(made, parse_regularisers(words), SHAPE, **how)(made, images, output)[1]


def test_one_hidden_layer_has_the_papers_closed_form():
    """Example 1: f^b = w2 psi b1 for y = w2 relu(W1 x + b1)."""
    first, second = nn.Linear(60, 7), nn.Linear(7, 3)
    made = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).double()
    active = (first(IMAGES.flatten(1)) > 0).double()
    expected = (active * second.weight[LABELS] * first.bias).square().sum(1).mean()
    for over in ("parameters", "units"):
        torch.testing.assert_close(losses_of(made, "bias-jacobian:3@1", over=over)["bias-jacobian"], 3 * expected)
    within = (active * second.weight[LABELS] * first.bias).sum(1).square().mean()
    torch.testing.assert_close(losses_of(made, "bias-jacobian:1@1", over="positions")["bias-jacobian"], within)


def test_a_convolutions_norm_is_that_of_the_slopes_in_its_parameters():
    """Proposition 2: f^b is the gradient in the parameters themselves, times these; here by finite differences."""
    made = network(norms=False)
    for name in ("0", "2"):
        bias = made.get_submodule(name).bias
        slopes = central(lambda: own(made(IMAGES)), bias.detach())
        expected = (slopes * bias.detach()).square().sum(1).mean()
        found = losses_of(made, f"bias-jacobian:1@{name}")["bias-jacobian"]
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_a_batch_norms_norm_is_of_its_effective_bias_by_running_statistics():
    made = network().train()
    norm, before = made[4], made[3]
    kept = norm.running_mean.clone()
    found = losses_of(made, "bias-jacobian:1@4")
    assert not torch.equal(norm.running_mean, kept), "the training pass moves them, and comes first"
    effective = (before.bias - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    made.eval()
    slopes = central(lambda: own(made(IMAGES)), norm.bias.detach())
    expected = (slopes * effective).square().sum(1).mean()
    torch.testing.assert_close(found["bias-jacobian"], expected, rtol=1e-6, atol=0)
    unnamed = losses_of(made, "bias-jacobian:1")["bias-jacobian"]
    assert last_layer(made, SHAPE) == "4" and torch.equal(
        unnamed, losses_of(made, "bias-jacobian:1@4")["bias-jacobian"]
    )


@pytest.mark.parametrize("over", ["parameters", "units", "positions"])
@pytest.mark.parametrize("norms", ["running", "batch"])
def test_its_gradient_is_that_of_finite_differences(norms, over):
    """All parameters of the network, the bias itself among them; batch statistics are kept from moving."""
    made = network().train()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    regularisation = Regularisation(made, parse_regularisers(["bias-jacobian:2@1,4"]), SHAPE, norms, over)

    def loss():
        with torch.enable_grad():
            return regularisation(made, IMAGES, own)[1]["bias-jacobian"].detach()

    regularisation(made, IMAGES, own)[1]["bias-jacobian"].backward()
    compared = 0
    for name, parameter in made.named_parameters():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        some = parameter.detach().view(-1)[:3]
        expected = central(loss, some)
        torch.testing.assert_close(found.view(-1)[:3], expected, rtol=1e-4, atol=1e-6, msg=name)
        compared += int(expected.abs().max() > 1e-3)
    assert compared > 5, "most parameters matter to it"


def test_units_and_positions_by_loops():
    stream = torch.manual_seed(1)
    slope, bias = torch.randn(2, 3, 2, 2, generator=stream), torch.randn(3, generator=stream)
    for image in range(2):
        part = {over: float(squared_norm(slope, bias, over)[image]) for over in ("parameters", "units", "positions")}
        terms = [[[float(slope[image, c, i, j] * bias[c]) for c in range(3)] for i in range(2)] for j in range(2)]
        flat = [position for row in terms for position in row]
        assert part["units"] == pytest.approx(sum(one**2 for position in flat for one in position), rel=1e-5)
        assert part["positions"] == pytest.approx(sum(sum(position) ** 2 for position in flat), rel=1e-5)
        each = [sum(position[c] for position in flat) for c in range(3)]
        assert part["parameters"] == pytest.approx(sum(one**2 for one in each), rel=1e-5)
    half = squared_norm(slope.bfloat16(), bias, "units")
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, squared_norm(slope, bias, "units"), rtol=0.02, atol=0)


def test_scales_of_relu_layers_do_not_matter():
    """Section 5: unlike the bias itself, the bias-Jacobian is the same where a layer is larger and the next smaller."""
    made = network(norms=False)
    before = losses_of(made, "bias-jacobian:1@0,2", "bias-decay:1@0")
    with torch.no_grad():
        for tensor, factor in ((made[0].weight, 4), (made[0].bias, 4), (made[2].weight, 0.25)):
            tensor *= factor
    after = losses_of(made, "bias-jacobian:1@0,2", "bias-decay:1@0")
    torch.testing.assert_close(after["bias-jacobian"], before["bias-jacobian"])
    torch.testing.assert_close(after["bias-decay"], 16 * before["bias-decay"])


def test_decay_is_the_sum_of_squares_and_its_gradient_twice_the_bias():
    made = network()
    found = losses_of(made, "bias-decay:0.5@1", "bias-decay:2@8")["bias-decay"]
    expected = 0.5 * sum(one**2 for one in made[1].bias.tolist()) + 2 * sum(one**2 for one in made[8].bias.tolist())
    assert found.item() == pytest.approx(expected)
    found.backward()
    torch.testing.assert_close(made[1].bias.grad, made[1].bias.detach())
    torch.testing.assert_close(made[8].bias.grad, 4 * made[8].bias.detach())
    assert made[3].bias.grad is None


def test_dropout_drops_units_of_a_layer_in_training_alone():
    """Counts of 0 among many units: 5 standard errors, an error in two million."""
    made = network(norms=False)
    kept = {}
    made[1].register_forward_hook(lambda module, args, output: kept.update(shown=args[0]))  # what the next layer sees
    plain = made[0](IMAGES)
    Regularisation(made, parse_regularisers(["dropout:0.3@0"]), SHAPE)
    torch.manual_seed(0)
    counts = []
    for _ in range(40):
        made(IMAGES)
        zero = kept["shown"] == 0
        counts.append(zero)
        torch.testing.assert_close(kept["shown"][~zero], plain[~zero] / 0.7)
    share = torch.stack(counts).double()
    assert abs(float(share.mean()) - 0.3) < 5 * math.sqrt(0.3 * 0.7 / share.numel())
    mixed = share.mean((2, 3, 4)) if share.ndim == 5 else share
    assert 0 < float(mixed.min()) and float(mixed.max()) < 1, "units, and not whole channels"
    made.eval()
    made(IMAGES)
    assert torch.equal(kept["shown"], plain)
    assert set(made.state_dict()) == set(network(norms=False).state_dict())


def test_mixed_images_have_the_mixed_output():
    made, weight = network(), 0.3

    def mixed(logits):
        return weight * own(logits) + (1 - weight) * logits.gather(1, LABELS.roll(1)[:, None]).squeeze(1)

    made.eval()
    slopes = central(lambda: mixed(made(IMAGES)), made[4].bias.detach())
    effective = (made[3].bias - made[4].running_mean) / (made[4].running_var + made[4].eps).sqrt() * made[4].weight
    expected = (slopes * (effective + made[4].bias)).square().sum(1).mean()
    found = losses_of(made, "bias-jacobian:1@4", output=mixed)["bias-jacobian"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_half_precision_is_for_the_cross_entropy_alone():
    """Under autocast, inside of which accelerate runs a network: in float32 all the same."""
    made = network().float()
    images = IMAGES.float()
    made.eval()
    expected = losses_of(made, "bias-jacobian:1@1,4", images=images)["bias-jacobian"]
    forward = made.forward
    made.forward = lambda given: torch.autocast("cpu", torch.bfloat16)(forward)(given)
    with torch.autocast("cpu", torch.bfloat16):
        regularisation = Regularisation(made, parse_regularisers(["bias-jacobian:1@1,4"]), SHAPE)
        logits, losses = regularisation(made, images, own)
    assert logits.dtype == torch.bfloat16 and losses["bias-jacobian"].dtype == torch.float32
    torch.testing.assert_close(losses["bias-jacobian"], expected)


BAD = {
    "dropuot:0.5": "unknown regulariser of --regularise 'dropuot': did you mean 'dropout'?",
    "dropout": "expected NAME:STRENGTH",
    "dropout:": "'' is no number",
    "dropout:much": "'much' is no number",
    "dropout:1": "expected a number from 0 to below 1|expected 0 or more, below 1",
    "dropout:nan": "expected",
    "bias-jacobian:-1": "expected 0 or more",
    "bias-jacobian:inf": "expected 0 or more",
    "bias-decay:1@": "expected NAME:STRENGTH",
    "bias-decay:1@head,,body": "expected NAME:STRENGTH",
    "bias-decay:1@head,head": "layer head has bias-decay twice",
    "bias-jacobian:1@haed": "unknown module 'haed': did you mean 'head'?",
    "bias-jacobian:1@body.relu1": "has no effective bias",
    "bias-decay:1@body.relu1": "layer 'body.relu1', a ReLU, has no bias",
}


@pytest.mark.parametrize("word", BAD)
def test_what_cannot_be_is_one_line(penult, tmp_path, word):
    words = ("train", "classifier", "--data", "digits", "--arch", "vgg-4", "--regularise", word, "--name", "bad")
    said = penult(*words)
    assert said.status == 2 and said.err.count("\n") == 1 and not (tmp_path / "runs").exists()
    assert any(part in said.err for part in BAD[word].split("|")), said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jacobian-norms", "batch"), "--jacobian-norms batch without --regularise bias-jacobian"),
        (("--jacobian-over", "units", "--regularise", "dropout:.1"), "--jacobian-over units without"),
        (("--regularise", "bias-jacobian:1", "--jacobian-norms", "batch", "--sync-batchnorm"), "leave one of them out"),
    ],
)
def test_what_does_not_go_together_is_one_line(penult, tmp_path, words, said):
    found = penult("train", "classifier", "--arch", "vgg-4", *words)
    assert found.status == 2 and found.err.count("\n") == 1 and said in found.err and not (tmp_path / "runs").exists()


def test_a_layer_that_runs_twice_or_gives_no_vectors_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(60, 60), nn.Linear(60, 3)

        def forward(self, images):
            return self.head(self.layer(self.layer(images.flatten(1)).relu()).relu())

    with pytest.raises(InputError, match="called 2 times"):
        Regularisation(Twice(), parse_regularisers(["bias-jacobian:1@layer"]), SHAPE)
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(30, 30), nn.Flatten(), nn.Linear(60, 3))
    with pytest.raises(InputError, match="gives \\(1, 2, 30\\)"):
        Regularisation(tokens, parse_regularisers(["bias-jacobian:1@1"]), SHAPE)
    with pytest.raises(InputError, match="name layers"):
        Regularisation(nn.Sequential(nn.Flatten(), nn.Linear(60, 3)), parse_regularisers(["dropout:.5"]), SHAPE)


def test_outputs_that_are_overwritten_are_regularised_all_the_same():
    """As torchvision's residual networks do: a sum is added to a norm's output in place, and a ReLU follows it."""

    class Residual(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.convolution, self.norm, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(2, 3)
            self.relu, self.inplace = nn.ReLU(inplace=inplace), inplace

        def forward(self, images):
            found = self.norm(self.convolution(images))
            found = found.add_(images) if self.inplace else found + images
            return self.head(self.relu(found).mean((2, 3)))

    found = []
    for inplace in (True, False):
        torch.manual_seed(5)
        made = Residual(inplace).double()
        losses = losses_of(made, "bias-jacobian:1", "dropout:0.5@convolution")
        losses["bias-jacobian"].backward()
        found.append(
            [losses["bias-jacobian"].detach(), *(one.grad for one in made.parameters() if one.grad is not None)]
        )
    assert len(found[0]) > 2 and found[0][0] > 0
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def train(penult, tmp_path, name, *more):
    """A short training of a network with batch norm; its weights and the lines of its metrics."""
    words = ("--data", "digits", "--arch", "vgg-4", "--train-images", 40, "--epochs", 2, "--batch-size", 20)
    said = penult(
        "train", "classifier", *words, "--log-every", 1, "--device", "cpu", "--threads", 1, "--name", name, *more
    )
    assert said.status == 0, said.err
    lines = [json.loads(line) for line in (tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()]
    return load_file(tmp_path / "runs" / name / "model.safetensors"), lines


ALL = ("--regularise", "bias-jacobian:10", "dropout:0.5", "bias-decay:0.1@body.block2.1")


def test_strength_0_is_the_run_without_it_and_losses_are_logged_by_name(penult, tmp_path):
    plain, _ = train(penult, tmp_path, "plain")
    zero, lines = train(penult, tmp_path, "zero", "--regularise", "bias-jacobian:0", "dropout:0", "bias-decay:0@head")
    assert plain.keys() == zero.keys() and all(torch.equal(plain[name], zero[name]) for name in plain)
    assert not any("bias" in name for line in lines for name in line)
    for word in ("bias-jacobian:10", "dropout:0.5", "bias-decay:10@body.block3.1"):
        other, lines = train(penult, tmp_path, word.partition(":")[0], "--regularise", word)
        assert any(not torch.equal(plain[name], other[name]) for name in plain), word
        logged = {name for line in lines for name in line if name.startswith("train/bias")}
        assert logged == ({f"train/{word.partition(':')[0]}"} if word.startswith("bias") else set())
    loaded = zoo.load(tmp_path / "runs" / "dropout")
    assert not any(module._forward_hooks for module in loaded.modules()), "what is read is the plain network"


def test_it_goes_on_where_it_was_killed(penult, tmp_path, monkeypatch):
    from apps.training import loop

    whole, _ = train(penult, tmp_path, "whole", *ALL)
    usual = loop.Fit.one_step

    class Killed(BaseException):
        pass

    def one_step(fit, meter):
        if fit.progress.step == 3:
            raise Killed
        usual(fit, meter)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop.Fit, "one_step", one_step)
        train(penult, tmp_path, "halted", *ALL, "--checkpoint-every", 1)
    resumed, _ = train(penult, tmp_path, "halted", *ALL, "--checkpoint-every", 1)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    said = penult(
        "train", "classifier", "--data", "digits", "--arch", "vgg-4", "--name", "halted", "--regularise", "dropout:0.1"
    )
    assert said.status == 2 and "regularise: " in said.err


def test_runs_from_before_it_go_on_without_it(penult, tmp_path):
    train(penult, tmp_path, "old")
    path = tmp_path / "runs" / "old" / "config.json"
    stored = json.loads(path.read_text())
    for key in ("regularise", "jacobian_norms", "jacobian_over"):
        del stored["config"][key]
    path.write_text(json.dumps(stored))
    (tmp_path / "runs" / "old" / "result.json").unlink()
    train(penult, tmp_path, "old")


def test_bf16_parts_and_averages_train(penult, tmp_path):
    more = ("--precision", "bf16", "--accumulate", 2, "--ema", 0.9, "--clip", 1, "--mixup", 0.3)
    for norms in ("running", "batch"):
        weights, lines = train(penult, tmp_path, norms, *ALL, "--jacobian-norms", norms, *more)
        assert all(one.isfinite().all() for one in weights.values())
        logged = [line["train/bias-jacobian"] for line in lines if "train/bias-jacobian" in line]
        assert logged and all(math.isfinite(one) and one > 0 for one in logged)


def test_the_averaged_network_drops_nothing_where_it_is_scored():
    """Dropout goes by the mode of the network it is in: an average of the weights is a copy in evaluation mode."""
    from apps.training.averaging import Average

    made = network()
    Regularisation(made, parse_regularisers(["dropout:0.9"]), SHAPE)
    made.train()
    averaged = Average(made, 0.9).network
    assert torch.equal(averaged(IMAGES), averaged(IMAGES))
    assert not torch.equal(made(IMAGES), made(IMAGES))


def test_a_norm_that_is_minimised_becomes_smaller():
    made = network()
    regularisation = Regularisation(made, parse_regularisers(["bias-jacobian:1"]), SHAPE)
    optimiser = torch.optim.SGD(made.parameters(), 0.05)
    seen = []
    for _ in range(20):
        logits, losses = regularisation(made, IMAGES, own)
        (F.cross_entropy(logits, LABELS) + losses["bias-jacobian"]).backward()
        optimiser.step()
        optimiser.zero_grad()
        seen.append(losses["bias-jacobian"].item())
    assert seen[-1] < seen[0] / 2


@pytest.mark.slow
def test_two_processes_regularise_as_one_does(machine, penult, tmp_path):
    """The same global batches, with batch norm over both: the same weights to rounding."""
    words = ("train", "classifier", "--data", "digits", "--arch", "vgg-4", "--train-images", 40, "--epochs", 1)
    words += ("--batch-size", 20, "--sync-batchnorm", "--optimizer", "momentum", "--device", "cpu", "--threads", 1)
    words += ("--regularise", "bias-jacobian:100@body.block2.1,body.block3.1", "bias-decay:0.1")
    ran = machine((*words, "--runs", tmp_path / "two", "--name", "one"), processes=2)
    assert ran["status"] == 0, ran["errors"]
    assert penult(*words, "--runs", tmp_path / "one", "--name", "one").status == 0
    both = [load_file(tmp_path / kind / "one" / "model.safetensors") for kind in ("one", "two")]
    for name, weights in both[0].items():
        torch.testing.assert_close(weights, both[1][name], rtol=1e-4, atol=1e-5, msg=name)
