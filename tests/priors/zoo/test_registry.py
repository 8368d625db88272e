import json
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock

import priors.zoo
from priors.errors import InputError
from priors.reading.heads import find_head
from priors.reading.taps import tap
from priors.zoo import build, load, registered, save
from priors.zoo.catalogue import catalogue

ENTRIES = {entry.name: entry for entry in registered()}
NAMES = [
    name.replace("NAME", variant)
    for name in ENTRIES
    if name != "timm:NAME"  # an extra, with its own tests; its residual blocks begin at 0
    for variant in ("resnet18", "densenet121")[: 1 + (":" in name)]
]
OWN = [name for name in ENTRIES if ":" not in name]
UNPUBLISHED = ("vgg-4", "vgg-6", "vgg-9")
LARGE = (
    *("wrn-28-10", "resnet-110", "resnet-50", "vgg-13", "vgg-16", "vgg-19"),
    *("pyramidnet-110", "pyramidnet-200"),
)


def make(name, **options):
    torch.manual_seed(0)
    size = 32 if ":" in name or name.startswith("alexnet") else 16 if name.startswith("lenet") else 8
    return build(
        name, classes=["ant", "bee", "cat"], image_shape=(3, size, size), mean=0.4, std=(0.2, 0.3, 0.25), **options
    )


def some_images(network, n=2):
    return torch.rand(n, *network.image_shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, tmp_path):
    if name in ("vgg-13", "vgg-16", "vgg-19", "pyramidnet-110", "pyramidnet-200"):
        pytest.skip("like their smaller siblings")
    network = make(name).eval()
    entry = ENTRIES.get(name, ENTRIES["torchvision:NAME"])
    images = some_images(network).requires_grad_()

    with tap(network, [*network.stages, network.penultimate_tap], copy=True) as taps:
        logits = network(images)
    activations = network.penultimate(images)
    assert logits.shape == (2, 3) and network.classes == 3 and network.class_names == ("ant", "bee", "cat")
    assert type(network.head) is nn.Linear and find_head(network) == (network.head_name, network.head) == (
        "head",
        network.head,
    )
    assert activations.shape == (2, network.head.in_features)
    assert entry.penultimate in (None, network.head.in_features)
    assert torch.equal(network.head(activations), logits) and torch.equal(taps[network.penultimate_tap], activations)

    assert len(network.stages) >= 2 and network.stages == (entry.stages or network.stages)
    areas = [taps[stage].shape[2:].numel() for stage in network.stages]
    assert all(before >= after for before, after in pairwise(areas))
    assert all(torch.isfinite(taps[stage]).all() for stage in network.stages)

    loss = F.cross_entropy(logits, torch.tensor([0, 2]))
    grads = torch.autograd.grad(loss, [images, *network.parameters(), *(taps[stage] for stage in network.stages)])
    assert all(torch.isfinite(grad).all() and grad.abs().sum() > 0 for grad in grads)

    network.provenance["data"] = "noise"
    save(network, tmp_path, {"accuracy": 0.5})
    state = torch.get_rng_state()
    again = load(tmp_path)
    assert torch.equal(torch.get_rng_state(), state), "loading draws nothing from the global generator"
    assert type(again) is type(network) and not again.training and again.provenance == {"data": "noise"}
    assert again.architecture == json.loads(json.dumps(network.architecture))
    assert again.stages == network.stages and again.image_shape == network.image_shape
    assert again.class_names == network.class_names
    with torch.no_grad():
        assert torch.equal(again(images), logits)
        torch.testing.assert_close(
            again.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last)),
            logits,
            rtol=1e-3,
            atol=1e-4,
        )

    channels, height, width = network.image_shape
    for wrong in ((channels, height + 1, width), (1, height, width)):
        given, own = (" x ".join(map(str, shape)) for shape in (wrong, network.image_shape))
        for method in (network, network.penultimate):
            with pytest.raises(InputError, match=f"images are {given}.*takes {own}"):
                method(torch.rand(2, *wrong))


@pytest.mark.parametrize("name", [*OWN, "torchvision:resnet18"])
def test_penultimate_width_and_bias_of_the_head_are_options(name):
    if name in LARGE:
        pytest.skip("like their smaller siblings")
    network = make(name, penultimate=7, head_bias=False).eval()
    images = some_images(network)
    assert network.head.in_features == 7 and network.head.bias is None and find_head(network)[0] == "head"
    assert torch.equal(network(images), network.penultimate(images) @ network.head.weight.T)
    assert (network.penultimate(images) < 0).any(), "no activation follows the added layer"
    rebuilt = build(**{key: value for key, value in network.architecture.items() if key != "options"})
    assert [p.shape for p in rebuilt.parameters()] == [p.shape for p in network.parameters()]


@pytest.mark.parametrize("name", OWN)
def test_the_list_has_each_networks_count(name):
    with torch.device("meta"):
        network = build(name, classes=100, image_shape=(3, 32, 32))
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == ENTRIES[name].parameters
    assert ENTRIES[name].penultimate == network.head.in_features


@pytest.mark.parametrize(
    "name",
    [n for n in OWN if not n.startswith(("alexnet", "convnet", "lenet", "mlp")) and n not in UNPUBLISHED],
)
def test_published_parameter_counts(name):
    with torch.device("meta"):
        network = build(name, classes=100, image_shape=(3, 32, 32))
        stages = tap(network, network.stages)
        with stages as taps:
            network.eval()(torch.rand(1, 3, 32, 32))
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == ENTRIES[name].parameters
    assert [taps[stage].shape[1:] for stage in network.stages] == [(c, side, side) for c, side in stages_of(name)]


def stages_of(name):
    """Channels of the stages, and the side of their maps."""
    if name.startswith("vgg"):
        return [(128, 16), (256, 8), (512, 4), (512, 4)]
    others = ("resnet-50", "mobilenet-v1", "mobilenet-v2", "shufflenet-v1", "shufflenet-v2")
    if name in others or name.startswith("pyramidnet"):
        return {
            "mobilenet-v1": [(128, 8), (256, 4), (512, 2), (1024, 1)],
            "pyramidnet-110": [(44, 32), (72, 16), (100, 8)],
            # The second norm of a group is before its strided convolution.
            "pyramidnet-200": [(100, 32), (180, 16), (1024, 8)],
            "resnet-50": [(256, 32), (512, 16), (1024, 8), (2048, 4)],
            "mobilenet-v2": [(12, 16), (16, 8), (48, 4), (160, 2)],
            "shufflenet-v1": [(240, 16), (480, 8), (960, 4)],
            "shufflenet-v2": [(116, 16), (232, 8), (464, 4)],
        }[name]
    if name.startswith("wrn"):
        first = 16 * int(name.split("-")[2])
    else:
        first = 64 if name.endswith("x4") else 16
    return [(first, 32), (2 * first, 16), (4 * first, 8)]


def test_mlp_is_the_encoders_twin():
    network = build("mlp", classes=10, image_shape=(1, 28, 28), penultimate=20)
    shapes = [tuple(layer.weight.shape) for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert shapes == [(256, 784), (128, 256), (20, 128), (10, 20)]
    images = torch.rand(5, 1, 28, 28)
    first, second, third, head = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    expected = head(third(second(first(images.flatten(1)).relu()).relu()))
    torch.testing.assert_close(network(images), expected)
    deep = build("mlp", classes=10, image_shape=(1, 8, 8), hidden=(32, 16, 8))
    assert deep.stages == ("body.hidden1", "body.hidden2", "body.hidden3") and deep.body.hidden3.out_features == 8


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 7, 5)])
def test_convnet_takes_images_of_any_size(shape):
    network = build("convnet", classes=10, image_shape=shape)
    assert network.penultimate(torch.rand(2, *shape)).shape == (2, 2)
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == 4
    half, full = (build(n, classes=10, image_shape=shape) for n in ("convnet-half", "convnet"))
    assert [2 * c.out_channels for c in half.modules() if isinstance(c, nn.Conv2d)] == [
        c.out_channels for c in full.modules() if isinstance(c, nn.Conv2d)
    ]
    plain = build("convnet", classes=10, image_shape=shape, batch_norm=False, width=8)
    assert (
        not any(isinstance(layer, nn.BatchNorm2d) for layer in plain.modules()) and plain.body.conv1.out_channels == 8
    )
    with tap(plain, plain.stages) as taps:
        plain(torch.rand(2, *shape))
    assert len(taps) == 4


def test_wide_resnet_against_its_definition():
    network = make("wrn-16-2").eval()
    weights = network.state_dict()

    def norm(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"body.{name}.{n}"] for n in names))

    def conv(x, name, stride=1):
        weight = weights[f"body.{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    images = some_images(network)
    x = conv((images - network.mean.view(3, 1, 1)) / network.std.view(3, 1, 1), "stem")
    for group in (1, 2, 3):
        for block in (0, 1):
            at, stride = f"group{group}.{block}", 2 if group > 1 and block == 0 else 1
            active = norm(x, f"{at}.norm1").relu()
            residual = conv(norm(conv(active, f"{at}.conv1", stride), f"{at}.norm2").relu(), f"{at}.conv2")
            x = residual + (conv(active, f"{at}.shortcut", stride) if block == 0 else x)
    last = norm(x, "norm")
    torch.testing.assert_close(network.penultimate(images), last.relu().mean((2, 3)))
    with tap(network, network.stages) as taps:
        network(images)
    torch.testing.assert_close(taps[network.stages[-1]], last)


def test_resnet_blocks_against_torchvisions():
    network = make("resnet-20").eval()
    for index, stride in ((0, 2), (2, 1)):
        block = network.body.group2[index]
        inputs = block.conv1.in_channels
        shortcut = (
            nn.Sequential(nn.Conv2d(inputs, 32, 1, stride, bias=False), nn.BatchNorm2d(32)) if stride == 2 else None
        )
        reference = BasicBlock(inputs, 32, stride, shortcut).eval()
        reference.load_state_dict(
            {n.replace("norm", "bn").replace("shortcut", "downsample"): t for n, t in block.state_dict().items()}
        )
        x = torch.randn(2, inputs, 8, 8)
        assert torch.equal(block(x).relu(), reference(x)) and (block(x) < 0).any()


@pytest.mark.parametrize("name", OWN)
def test_stages_are_taken_before_relus_that_never_work_in_place(name):
    with torch.device("meta"):
        network = make(name)
    assert not any(getattr(module, "inplace", False) for module in network.modules())
    if name not in LARGE:
        network = make(name)
        with tap(network, network.stages) as taps:
            network(some_images(network, 4))
        assert all((taps[stage] < 0).any() for stage in network.stages)


@pytest.mark.parametrize("name", ["wrn-16-4", "resnet-32x4", "resnet-50", "vgg-8", "mobilenet-v2"])
def test_convolutions_start_from_hes_normal_by_fan_out(name):
    for path, layer in make(name).named_modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan_out = layer.out_channels * layer.kernel_size[0] ** 2
            # The deviation of n normal numbers has a relative error of 1 / sqrt(2 n) < .0071: five of them.
            assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.036), path


@pytest.mark.parametrize("name", ["wrn-16-1", "wrn-16-4", "resnet-20", "mlp"])
def test_a_wide_resnets_head_starts_without_bias_and_others_as_torchs(name):
    """As in the public codes; what is drawn besides is the same either way."""
    wide, networks = name.startswith("wrn"), [make(name, zero_bias=zero).state_dict() for zero in (None, False, True)]
    found, uniform, zero = (network.pop("head.bias") for network in networks)
    assert 0 < uniform.abs().max() <= networks[0]["head.weight"].shape[1] ** -0.5
    assert not zero.any() and torch.equal(found, zero if wide else uniform)
    assert all(torch.equal(network[key], value) for key, value in networks[0].items() for network in networks)
    assert not wide or make(name, head_bias=False).head.bias is None


def test_normalisation_is_inside_and_moves_with_the_network():
    network = make("wrn-16-1").eval()
    plain = build("wrn-16-1", classes=3, image_shape=(3, 8, 8)).eval()
    plain.load_state_dict({**network.state_dict(), "mean": torch.zeros(3), "std": torch.ones(3)})
    images = some_images(network)
    by_hand = (images - torch.full((3, 1, 1), 0.4)) / torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
    torch.testing.assert_close(network(images), plain(by_hand))
    assert network.double().mean.dtype == torch.float64


def test_wide_resnets_dropout_is_an_option():
    network = make("wrn-16-1", dropout=0.3)
    rates = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.3] * 6 and network.architecture["options"] == {"dropout": 0.3}


def test_catalogue_is_the_registry():
    assert catalogue() == registered()
    assert all(entry.summary and entry.paper for entry in catalogue())
    names = [entry.name for entry in catalogue()]
    assert len(set(names)) == len(names) and {"mlp", "convnet", "wrn-40-2", "resnet-110", "torchvision:NAME"} <= set(
        names
    )


def test_catalogue_needs_no_torch():
    program = (
        "import sys; from priors.zoo.catalogue import catalogue; assert catalogue() and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_new_family_file_is_found_with_no_other_edit(tmp_path, monkeypatch):
    (tmp_path / "perceptron.py").write_text('''
from torch import nn
from priors.zoo.registry import Parts, Wanted, classifier


@classifier(presets=(("perceptron", {}, 5, None),), stages=("body.0",), paper="Rosenblatt 1958")
def perceptron(wanted: Wanted, *, slope: float = 0.0) -> Parts:
    """One layer."""
    return Parts(nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), 5)
''')
    monkeypatch.setattr(priors.zoo, "__path__", [*priors.zoo.__path__, str(tmp_path)])
    try:
        (entry,) = [entry for entry in registered() if entry.name == "perceptron"]
        assert entry in catalogue() and entry.summary == "One layer." and entry.options == ("slope",)
        assert build("perceptron", classes=3, image_shape=(1, 4, 4))(torch.rand(2, 1, 4, 4)).shape == (2, 3)
    finally:
        from priors.zoo.registry import _REGISTRY

        _REGISTRY.pop("perceptron", None)
        sys.modules.pop("priors.zoo.perceptron", None)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("wrn-16-3", {}, "unknown classifier 'wrn-16-3': did you mean 'wrn-16-"),
        ("torchvison:resnet18", {}, "unknown classifier 'torchvison:resnet18'"),
        ("torchvision:", {}, "unknown classifier 'torchvision:'"),
        ("wrn-16-2", {"droput": 0.3}, "unknown option of wrn-16-2 'droput': did you mean 'dropout'"),
        ("wrn-16-2", {"depth": 40}, "unknown option of wrn-16-2 'depth'"),
        ("wrn-16-2", {"dropout": 1.0}, "a rate in"),
        ("mlp", {"hidden": ()}, "hidden is"),
        ("mlp", {"penultimate": 1}, "at least 2 dimensions"),
        ("mlp", {"classes": 1}, "1 class: at least two"),
        ("mlp", {"classes": None}, "classes is needed"),
        ("mlp", {"classes": ["a", "b", "a"]}, "'a' is given twice"),
        ("mlp", {"image_shape": (8, 8)}, r"image_shape is \(8, 8\)"),
        ("mlp", {"image_shape": (3, 0, 8)}, r"image_shape is \(3, 0, 8\)"),
        ("mlp", {"image_shape": None}, "image_shape is needed"),
        ("mlp", {"mean": (0.1, 0.2)}, "mean has 2 values: one, or one for each of 3 channels"),
        ("mlp", {"std": 0.0}, "std is 0.0: finite positive"),
        ("mlp", {"mean": float("nan")}, "mean is nan"),
        ("convnet", {"image_shape": (1, 1, 5)}, "at least 2x2"),
        ("convnet", {"width": 0}, "width is 0"),
    ],
)
def test_what_does_not_suit_is_said_in_one_line(name, options, said):
    with pytest.raises(InputError, match=said) as error:
        build(name, **{"classes": 3, "image_shape": (3, 8, 8), **options})
    assert "\n" not in str(error.value)


def test_images_must_be_a_batch_of_floats():
    network = make("mlp")
    with pytest.raises(InputError, match="torch.uint8: floating-point values"):
        network.normalise(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"shape \(3, 8, 8\)"):
        network.normalise(torch.rand(3, 8, 8))
