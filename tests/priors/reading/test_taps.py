import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from priors.errors import InputError
from priors.model.classifier_prior import ClassifierPrior
from priors.reading.taps import find_module, tap


class Reused(nn.Module):
    """One activation module for two layers, working in place."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.fc3(self.relu(self.fc2(self.relu(self.fc1(x)))))


class Overwriting(nn.Module):
    """What DenseNet does: a functional operation in place on a module's output."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(F.relu(self.norm(x), inplace=True))


@pytest.fixture
def x():
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def flags(model):
    return {name: m.inplace for name, m in model.named_modules() if hasattr(m, "inplace")}


def test_taps_before_in_place_modules_see_what_the_module_computed(x):
    torch.manual_seed(0)
    net = Reused()
    plain = net.fc1(x)
    with tap(net, ["fc1", "fc3:input", "fc3"]) as taps:
        output = net(x)
    assert torch.equal(taps["fc1"], plain) and (plain < 0).any()
    assert torch.equal(taps["fc3"], output)
    assert torch.equal(taps["fc3:input"], net.fc2(plain.relu()).relu())
    assert net.relu.inplace and hooks(net) == 0
    assert dict(taps).keys() == {"fc1", "fc3:input", "fc3"} and len(taps) == 3


def test_calls_of_a_reused_module_are_numbered_from_one(x):
    torch.manual_seed(0)
    net = Reused()
    with tap(net, ["relu", "relu#1", "relu:input#2", "relu#2", "relu#3"]) as taps:
        output = net(x)
    first = net.fc1(x).relu()
    assert torch.equal(taps["relu#1"], first)
    assert torch.equal(taps["relu:input#2"], net.fc2(first))
    assert torch.equal(net.fc3(taps["relu#2"]), output)
    with pytest.raises(InputError, match="called 2 times.*relu#1, relu#2"):
        taps["relu"]
    with pytest.raises(InputError, match="called 2 times in the last"):
        taps["relu#3"]


def test_a_module_under_two_names_is_one_module(x):
    act = nn.ReLU()
    net = nn.Sequential(nn.Linear(6, 6), act, nn.Linear(6, 6), act)
    with tap(net, ["1#2", "3#1"]) as taps:
        output = net(x)
    assert torch.equal(taps["1#2"], output)
    assert torch.equal(taps["3#1"], net[0](x).relu())


def test_each_pass_replaces_the_one_before(x):
    net = Reused()
    with tap(net, ["fc1"]) as taps:
        net(x)
        net(2 * x)
    assert torch.equal(taps["fc1"], net.fc1(2 * x))


def test_recomputation_in_the_backward_pass_is_not_a_second_call(x):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.fc = nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 2)

        def forward(self, x):
            return self.fc(torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False))

    net = Checkpointed()
    calls = []
    net.inner[0].register_forward_hook(lambda *_: calls.append(1))
    with tap(net, ["inner.0"]) as taps:
        net(x).sum().backward()
        assert len(calls) == 2
        assert torch.equal(taps["inner.0"], net.inner[0](x))


def test_gradients_reach_the_tap_and_pass_through_it(x):
    net = Reused()
    for copied in (False, True):
        with tap(net, ["fc2"], copy=copied) as taps:
            loss = net(x).square().sum()
        (grad,) = torch.autograd.grad(loss, taps["fc2"], retain_graph=True)
        z = taps["fc2"].detach().requires_grad_()
        (expected,) = torch.autograd.grad(net.fc3(z.relu()).square().sum(), z)
        torch.testing.assert_close(grad, expected)
        (weight,) = torch.autograd.grad(taps["fc2"].sum(), net.fc1.weight)
        assert weight.abs().sum() > 0


def test_functional_overwriting_is_refused_or_copied(x):
    net = Overwriting().eval()
    with tap(net, ["norm"]) as taps:
        net(x)
    with pytest.raises(InputError, match="'norm' was overwritten in place.*copy=True"):
        taps["norm"]
    with tap(net, ["norm"], copy=True) as taps:
        output = net(x)
    torch.testing.assert_close(taps["norm"], net.norm(x), rtol=0, atol=0)
    assert torch.equal(net.fc(taps["norm"].relu()), output)
    with tap(net, ["norm"]) as taps, torch.no_grad():
        net(x)
    with pytest.raises(InputError, match="overwritten"):
        taps["norm"]


def test_inference_mode_copies_for_lack_of_versions(x):
    net = Overwriting().eval()
    expected = net.norm(x)
    with torch.inference_mode(), tap(net, ["norm", "fc"]) as taps:
        output = net(x)
        assert taps["norm"].is_inference()
    assert torch.equal(taps["norm"], expected) and torch.equal(taps["fc"], output)


@pytest.mark.parametrize("mode", ["grad", "no_grad", "inference"])
def test_resnet(mode):
    torch.manual_seed(0)
    net = models.resnet18(num_classes=7).eval()
    before = flags(net)
    images = torch.rand(2, 3, 32, 32)
    context = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}[mode]
    names = ["bn1", "layer1.0.bn1", "layer1.0.relu#1", "layer4", "fc:input"]
    with context(), tap(net, names) as taps:
        logits = net(images)
    with torch.no_grad():
        stem = net.bn1(net.conv1(images))
        assert torch.equal(taps["bn1"], stem) and (stem < 0).any()
        inner = net.layer1[0].bn1(net.layer1[0].conv1(net.maxpool(stem.relu())))
        assert torch.equal(taps["layer1.0.bn1"], inner)
        assert torch.equal(taps["layer1.0.relu#1"], inner.relu())
        assert torch.equal(taps["layer4"].mean((2, 3)), taps["fc:input"])
        assert torch.equal(net.fc(taps["fc:input"]), logits)
        torch.testing.assert_close(net(images), logits, rtol=0, atol=0)
    assert flags(net) == before and hooks(net) == 0


def test_densenet():
    torch.manual_seed(0)
    net = models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=5).eval()
    images = torch.rand(2, 3, 32, 32)
    layer = "features.denseblock1.denselayer2"
    with tap(net, [f"{layer}.norm1", f"{layer}.relu1", "features.norm5", "features", "classifier:input"]) as taps:
        logits = net(images)
    assert torch.equal(taps[f"{layer}.norm1"].relu(), taps[f"{layer}.relu1"]) and (taps[f"{layer}.norm1"] < 0).any()
    assert torch.equal(net.classifier(taps["classifier:input"]), logits)
    for name in ("features.norm5", "features"):
        with pytest.raises(InputError, match=f"'{name}' was overwritten"):
            taps[name]
    for context, copied in ((torch.enable_grad, True), (torch.inference_mode, False)):
        with context(), tap(net, ["features"], copy=copied) as taps:
            net(images)
        assert (taps["features"] < 0).any()
        torch.testing.assert_close(net.classifier(taps["features"].relu().mean((2, 3))), logits)


def test_nothing_stays_behind_after_an_exception(x):
    net = Reused()
    with pytest.raises(RuntimeError, match="mat1"), tap(net, ["fc1", "relu:input", "fc2"]):
        net(torch.randn(2, 9))
    assert hooks(net) == 0 and net.relu.inplace
    with pytest.raises(KeyError), tap(net, ["fc1"]):
        raise KeyError("the caller's own")
    assert hooks(net) == 0 and net.relu.inplace
    with pytest.raises(InputError), tap(net, ["fc1", "nothing"]):
        pass
    assert hooks(net) == 0 and net.relu.inplace


def test_wrong_names_and_values_are_said(x):
    net = Reused()
    with pytest.raises(InputError, match="unknown module 'fc11'.*did you mean 'fc1'"), tap(net, ["fc11"]):
        pass
    for name in ("fc1:inputs", "fc1:", "fc1:input:output", "fc1#0"):
        with pytest.raises(InputError, match=f"'{name}'|module '{name}'"), tap(net, [name]):
            pass
    with tap(net, ["fc1"]) as taps:
        with pytest.raises(InputError, match="was not called"):
            taps["fc1"]
        with pytest.raises(InputError, match="unknown tap 'fc2'"):
            taps["fc2"]
    attention = nn.Sequential(nn.Identity(), nn.LSTM(6, 3))
    with pytest.raises(InputError, match="'1' gives a tuple"), tap(attention, ["1"]):
        attention(x)
    assert hooks(attention) == 0
    with pytest.raises(InputError, match="DataParallel"), tap(nn.DataParallel(net), ["fc1"]):
        pass


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("compiled", ["script", "trace"])
def test_modules_of_torch_jit_are_refused_in_one_line_and_eager_ones_beside_them_are_not(compiled, x):
    eager = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    part = torch.jit.script(eager) if compiled == "script" else torch.jit.trace(eager, x)
    whole = nn.Sequential(part, nn.Linear(4, 3))
    for network, name, said in (
        (part, "0", "this network is a torch.jit module, compiled by script or trace"),
        (part, "", "this network is"),
        (whole, "0", "'0' is a torch.jit module"),
        (whole, "0.0", "'0' is"),
        (whole, "0.0:input", "'0' is"),
    ):
        with pytest.raises(InputError, match=said) as error, tap(network, [name]):
            network(x)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="this network is a torch.jit module"):
        ClassifierPrior.from_classifier(part, 20)
    with tap(whole, ["1:input", "1"]) as taps:
        output = whole(x)
    assert torch.equal(taps["1:input"], eager(x)) and torch.equal(taps["1"], output)


def test_modules_are_listed_no_more_often_for_more_taps(monkeypatch):
    """A training taps in each step: with a list a tap, a ResNet of 110 layers took 24 ms for it, where one takes 2."""
    net = models.resnet18()
    listings, listed = [], nn.Module.named_modules

    def counted(module, *args, **options):
        listings.append(module is net)
        return listed(module, *args, **options)

    monkeypatch.setattr(nn.Module, "named_modules", counted)
    for names in (["fc:input"], ["layer1.0.bn1", "layer2.0.bn1", "layer3", "layer4", "fc:input"]):
        listings.clear()
        with tap(net, names):
            pass
        assert sum(listings) <= 1


def test_keyword_arguments_can_be_tapped(x):
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, x):
            return self.inner(value=x)

    class Inner(nn.Module):
        def forward(self, *, value):
            return value.relu_()

    given = x.clone()
    with tap(net := Keyword(), ["inner:input"], copy=True) as taps:
        net(given)
    assert torch.equal(taps["inner:input"], given) and (given < 0).any()


def test_distributed_wrapper(x, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = Reused()
        ddp = nn.parallel.DistributedDataParallel(net)
        with tap(ddp, ["fc1", "module.fc2", "fc3:input"]) as taps:
            output = ddp(x)
        assert torch.equal(taps["fc1"], net.fc1(x))
        assert torch.equal(taps["module.fc2"], net.fc2(net.fc1(x).relu()))
        assert torch.equal(net.fc3(taps["fc3:input"]), output)
        assert find_module(ddp, "fc3") == ("fc3", net.fc3) and hooks(net) == 0
        assert torch.equal(ClassifierPrior.from_classifier(ddp, 20, head="module.fc3").weight, net.fc3.weight)
    finally:
        torch.distributed.destroy_process_group()
