"""What the layers keep, as a picture: differences, from an anchor that is named."""

import numpy as np
import pytest
import torch

from apps.data.image_set import ImageSet
from apps.inverting import report, through_training
from apps.inverting.report import conclude


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """`drawn(found)`: the panel of `nce.png`."""

    def axes(found):
        kept = []
        monkeypatch.setattr(report, "save", lambda figure, _: kept.append(figure))
        pixels = torch.zeros(50, 1, 28, 28, dtype=torch.uint8)
        test = ImageSet("/data/of/mine/digits.npz", "test", pixels, torch.arange(50) % 2, ("a", "b"))
        conclude("runs/one", 0.5, tmp_path / "inv", found, {}, test)
        (axes,) = kept[0].axes
        return axes

    return axes


def likelihoods(**means: float) -> dict[str, torch.Tensor]:
    """Log-likelihoods that share what makes an image hard, with a difference of their own."""
    hard = 300 * torch.randn(50, generator=torch.Generator().manual_seed(0))
    own = torch.Generator().manual_seed(1)
    return {name: hard + mean + torch.randn(50, generator=own) for name, mean in means.items()}


def test_the_axis_shows_what_the_layers_differ_by(drawn):
    """Thirty-seven nats of four thousand fill the panel, with the errors of paired differences."""
    found = likelihoods(none=-4000.0, fc1=-3963.0, logits=-3975.0)
    axes = drawn(found)
    low, high = axes.get_ylim()
    assert -10 < low < 0 and 37 < high < 60
    points = [container for container in axes.containers if hasattr(container, "has_yerr")]
    heights = [float(point.lines[0].get_ydata()[0]) for point in points]
    assert heights == pytest.approx([37, 25], abs=1)
    apart = (found["fc1"] - found["none"]).numpy().astype(float)
    (ends,) = points[0].lines[2][0].get_segments()
    assert (ends[1, 1] - ends[0, 1]) / 2 == pytest.approx(apart.std(ddof=1) / np.sqrt(50), rel=1e-5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fc1", "logits"]
    assert "no context" in axes.get_ylabel() and f"NCE {float(found['none'].mean()):.2f} nats" in axes.get_xlabel()
    assert axes.get_title() == "What one keeps of 50 test images of digits.npz"


@pytest.mark.parametrize(
    ("layers", "anchor"), [(("fc1", "logits"), "fc1"), (("fc1",), "fc1"), (("none",), "no context")]
)
def test_without_a_density_without_context_the_first_layer_is_the_anchor(drawn, layers, anchor):
    axes = drawn(likelihoods(**dict.fromkeys(layers, -100.0)))
    assert len(axes.containers) == len(layers) - 1 and anchor in axes.get_ylabel()


def test_a_caution_is_folded_to_the_terminal(drawn, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    drawn(likelihoods(fc1=-3975.0, logits=-3963.0))
    out = capsys.readouterr().out
    (first,) = (number for number, line in enumerate(out.splitlines()) if line.startswith("Caution: "))
    assert len(out.splitlines()[first + 1]) > 10 and max(map(len, out.splitlines()[first : first + 3])) <= 60


@pytest.mark.parametrize("networks", [("as trained",), ("as trained", "20 images")])
def test_each_layer_is_drawn_by_what_its_training_changed(monkeypatch, tmp_path, networks):
    """Layers are hundreds of nats apart: each has a panel, where six nats of three thousand fill the axis."""
    kept = []
    monkeypatch.setattr(through_training, "save", lambda figure, _: kept.append(figure))
    curves = {
        network: {
            step: likelihoods(fc1=-3000.0 + change + 2 * number, logits=-3400.0 + change)
            for step, change in ((0, -6.0), (100, -2.0), (None, 0.0))
        }
        for number, network in enumerate(networks)
    }
    pixels = torch.zeros(50, 1, 28, 28, dtype=torch.uint8)
    test = ImageSet("/data/of/mine/digits.npz", "test", pixels, torch.arange(50) % 2, ("a", "b"))
    through_training.conclude("runs/one", tmp_path, curves, test)
    figure = kept[0]
    assert len(figure.axes) == 2 and bool(figure.legends) == (len(networks) > 1)
    for axes, layer, level in zip(figure.axes, ("fc1", "logits"), (-3000, -3400), strict=True):
        low, high = axes.get_ylim()
        assert -9 < low < -5 and high < 4
        drawn = [container.lines[0].get_ydata() for container in axes.containers]
        assert len(drawn) == len(networks) and list(drawn[0]) == pytest.approx([-6, -2, 0], abs=1e-3)
        assert axes.get_title() == f"{layer} (finished: NCE {curves['as trained'][None][layer].mean():.2f})"
        assert curves["as trained"][None][layer].mean() == pytest.approx(level, abs=150)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "100", "finished"]
    assert figure.get_suptitle().startswith("What one keeps of 50 test images of digits.npz while it is trained")
