"""Part c, draws: images of a PixelCNN++ by a captured graph, and samples of the von Mises-Fisher distribution."""

from collections.abc import Callable
from functools import partial

import bench_pixelcnn
import bench_sampling
import torch
from recording import Check
from speed import FULL, TOY, Effort, in_turn, ratio, told

from analysis.densities.captured import CapturedSampler
from analysis.densities.pixelcnn import PixelCNN
from analysis.densities.sampling import sample, uniforms
from priors.vmf.transport import rsample


def checks(device: str, toy: bool) -> list[Check]:
    """All of draws."""
    batches, least = ((1, 2) if toy else (1, 16, 256)), 0.0 if toy else 5.0
    found = [Check(f"images: batch {batch}", partial(images, device, batch, toy), seconds=least) for batch in batches]
    for m in (5,) if toy else (20, 128, 512):
        found.append(Check(f"vMF: m = {m}", partial(directions, device, m, 64 if toy else 65_536, toy)))
    return found


def images(device: str, batch: int, toy: bool) -> dict:
    """Images of a PixelCNN++: step by step, by a captured graph, and by a pass of the whole network a pixel."""
    torch.manual_seed(0)
    shape, width = ((1, 4, 4), 8) if toy else ((1, 28, 28), 256)
    model = PixelCNN(shape, (width,), **({"layers": 1, "filters": 4} if toy else {"layers": 3, "filters": 64}))
    model = model.to(device).eval()
    model.initialise(torch.rand(8, *shape, device=device), torch.randn(8, width, device=device))
    context = torch.randn(batch, width, device=device)
    blank, place = torch.zeros(batch, *shape, device=device), torch.device(device)
    ways: dict[str, Callable] = {
        "whole passes": lambda: bench_pixelcnn.whole_passes(model, blank, context, place),
        "eager": lambda: partial(sample, model, context),
    }
    if device == "cuda":
        ways["graph"] = lambda: partial(CapturedSampler(model, batch), context, uniforms(model, batch))
    found = in_turn(ways, device, TOY if toy else Effort(rounds=3, seconds=0.0, warm=1))
    pixels = shape[1] * shape[2]
    passes = [one / bench_pixelcnn.PIXELS * pixels for one in found["whole passes"].seconds]
    found["whole passes"].seconds[:] = passes
    numbers = told(found, "whole passes")
    if "graph" in found:
        numbers |= {"graph x eager": ratio(found, "eager", "graph")}
    best = min(found.values(), key=lambda timed: min(timed.seconds))
    return numbers | {"images a second": batch / min(best.seconds)}


def directions(device: str, m: int, batch: int, toy: bool) -> dict:
    """Draws of the von Mises-Fisher distribution: what part of the rate of Gaussians that are drawn and normalised."""
    loc = torch.nn.functional.normalize(torch.randn(batch, m, device=device), dim=-1)
    shared = torch.full((1,), 80.0, device=device).expand(batch)
    ways = {
        "Gaussians": lambda: partial(bench_sampling.limit, loc, shared),
        "one kappa": lambda: partial(rsample, loc, shared),
        "a kappa each": lambda: partial(rsample, loc, shared.clone()),
    }
    with torch.no_grad():
        found = in_turn(ways, device, TOY if toy else FULL)
    return told(found, "Gaussians")
