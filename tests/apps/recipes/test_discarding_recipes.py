"""Tables of the paper on discarded information: what is published, and what the commands of a cell mean."""

import importlib
import json
import shlex
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

import apps.recipes
from apps.command.cli import configured, verb_of
from apps.models.layers import layer_site
from apps.recipes.discarding.protocol import CIFAR10, FOLLOWED, MAPS, PUBLISHED, SHORT, VECTORS
from apps.recipes.table import tables
from priors import zoo
from priors.reading.taps import find_module, tap

FOUND = tables("discarding")
TEACHERS = {
    "resnet-20": "resnet-20",
    "vgg-16": "torchvision:vgg16",
    "resnet-18": "torchvision:resnet18",
    "resnet-34": "torchvision:resnet34",
}


@cache
def meant(line: str):
    """What a plain command means."""
    return configured(*verb_of(shlex.split(line.format(runs="runs"))))[1]


def last(number, row, column, seed=0):
    return meant(FOUND[number].commands(row, column, seed)[-1])


def all_commands():
    return {
        line: number for number, recipe in FOUND.items() for cell in recipe.cells for line in recipe.commands(*cell, 0)
    }


def name_of(line: str) -> str:
    """What a command makes: a run or a folder of scores, or robustness in a run's own folder."""
    words = shlex.split(line)
    return words[words.index("--name") + 1] if "--name" in words else f"{words[2]} robustness"


def test_a_network_of_several_studies_is_trained_once():
    """One name has one command, and one command one name."""
    made: dict[str, set[str]] = {}
    for line in all_commands():
        made.setdefault(name_of(line), set()).add(line)
    assert all(len(lines) == 1 for lines in made.values())
    trained = {line.rsplit(" --name ")[0] for line in all_commands() if not line.startswith("analyse")}
    assert len(trained) == sum(not line.startswith("analyse") for line in all_commands())
    shared = SHORT.training("resnet-20", 0)
    of = [n for n, recipe in FOUND.items() if any(shared in recipe.commands(*cell, 0) for cell in recipe.cells)]
    assert {"networks-short", "distillation-short"} <= set(of)


def test_what_is_measured_was_made_before():
    """Every run that a command reads is made by a command before it in the same cell."""
    for number, recipe in FOUND.items():
        for cell in recipe.cells:
            there: set[str] = set()
            for line in recipe.commands(*cell, 0):
                words = shlex.split(line)
                read = {word.split("/")[1] for word in words if word.startswith("{runs}/")}
                assert read <= there, (number, cell, line)
                there.add(name_of(line))


def test_everything_is_measured_as_the_paper_has_it():
    """Section 4: alpha 1.5e-4; section 3.1: delta_f^2 averaged over images, by slopes; equation 8: from the image."""
    for line in all_commands():
        if not line.startswith(("analyse discard", "analyse coherency")):
            continue
        config, short = meant(line), "discarding-short" in line
        noise = config.noise
        assert (noise.alpha, noise.delta, noise.tau, noise.grid, noise.unit) == (1.5e-4, "dataset", None, 16, "pixel")
        assert noise.method == "solve" and noise.cap == 1 and noise.shared
        few = (16,) if short else (64,)
        assert config.count in (few if "coherency" in line else (64, 24) if short else (200,))
        if "ru" in config.measured:
            own = config.uncertainty
            assert (own.centre, own.variant, config.decoding.decoder_width) == ("image", "paper", 64)
            training = config.optimisation
            assert (training.optimizer, training.lr, training.schedule) == ("adam", 0.01, "cosine")
            size = (training.epochs, config.decoding.decoder_images)
            assert size == ((2, 5000) if short else (5, None))


def test_layers_are_behind_relus_and_in_order():
    """Of each network, maps of more than a pixel, then vectors; a ReLU behind the last convolution of each block."""
    with torch.device("meta"):
        for arch, maps in MAPS.items():
            network = zoo.build(arch, classes=10, image_shape=(3, 32, 32)).eval()
            shapes = shapes_of(network, list((maps | VECTORS).values()), 32)
            assert all(len(shape) == 4 and shape[2] > 1 for shape in shapes[: len(maps)])
            assert [shape[1:] for shape in shapes[len(maps) :]] == [(network.head.in_features,), (10,)]
            assert [shape[2] for shape in shapes[: len(maps)]] == {5: [32, 16, 8, 4, 4], 3: [32, 16, 8]}.get(
                len(maps) if arch != "alexnet-small" else 0, [8, 4, 2, 2, 2]
            )
            for layer in maps.values():
                assert isinstance(find_module(network, layer_site(network, layer))[1], nn.ReLU)
        for arch, layers in PUBLISHED.items():
            network = zoo.build(arch, classes=200, image_shape=(3, 224, 224)).eval()
            shapes = shapes_of(network, list(layers.values()), 224)
            assert list(layers) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
            assert [shape[1] for shape in shapes[5:]] == [4096, 4096, 200]
            assert [shape[2] for shape in shapes[:5]] == (
                [55, 27, 13, 13, 13] if arch.endswith("alexnet") else [224, 112, 56, 28, 14]
            )
            for name in list(layers.values())[:6]:
                path = layer_site(network, name)
                assert isinstance(find_module(network, path)[1], nn.ReLU)
            if not arch.endswith("alexnet"):  # the last of its block: a pooling follows
                for name in list(layers.values())[:5]:
                    following = f"body.features.{int(name.rpartition('.')[2]) + 1}"
                    assert isinstance(find_module(network, following)[1], nn.MaxPool2d)


def shapes_of(network, names, side):
    sites = [layer_site(network, name) for name in names]
    with tap(network, sites) as found:
        network(torch.rand(2, 3, side, side))
    return [tuple(found[site].shape) for site in sites]


def test_a_training_is_followed_from_its_start_to_its_end():
    """Figure 5b: the snapshots that are read are those that are kept, and the last row is the run itself."""
    for number, how, total in (("epochs", CIFAR10, 64_000), ("epochs-short", SHORT, 1953)):
        recipe, run = FOUND[number], how.network(FOLLOWED, 0)
        training, config = (meant(line) for line in recipe.commands("0", recipe.columns[-1], 0))
        kept = [f"runs/{run}/snapshots/step-{step}" for step in training.where.snapshots]
        assert [config.model, *config.against] == [*kept, f"runs/{run}"]
        updates = round(training.optimisation.epochs * 50_000 / training.optimisation.batch_size)
        assert updates == total and training.where.snapshots[0] == 0 and training.where.snapshots[-1] < updates
        column = recipe.columns[-1]
        layer = config.asked_layers[-1]
        assert recipe.score("0", column, "SID") == f"{layer} SID"
        for number, (row, model) in enumerate(zip(recipe.rows, [*kept, f"runs/{run}"], strict=True), start=1):
            step = how.step(row)
            assert model == (f"runs/{run}" if step is None else f"runs/{run}/snapshots/step-{step}")
            if number > 1:
                assert recipe.score(row, column, "SID error") == f"{number}: {layer} SID error"
    blocks = last("epochs", "0", "1-1").asked_layers
    with torch.device("meta"):
        network = zoo.build(FOLLOWED, classes=10, image_shape=(3, 32, 32)).eval()
        modules = [find_module(network, layer_site(network, name))[1] for name in blocks]
        assert len(blocks) == 15 and all(isinstance(module, nn.ReLU) for module in modules)
        assert [shape[2] for shape in shapes_of(network, blocks, 32)] == [32] * 5 + [16] * 5 + [8] * 5


def test_students_with_a_teacher_and_without_differ_by_it_alone():
    """Section 4: an AlexNet, with VGG-16, ResNet-18 or ResNet-34 for a teacher, and without."""
    for number, student in (("distillation", "torchvision:alexnet"), ("distillation-short", "alexnet-small")):
        recipe = FOUND[number]
        lines = recipe.commands("none", recipe.columns[0], 0)
        commands = [meant(line) for line in lines]
        plain = next(one for one in commands if getattr(one, "arch", None) == student)
        taught = [one for one in commands if hasattr(one, "terms")]
        for row, config in zip(recipe.rows[1:], taught, strict=True):
            assert (config.terms, config.student, config.hinton.weight) == ("ce+hinton", student, 0.9)
            # Along a cosine there are no milestones: those of two verbs by default differ.
            rates = {"milestones": plain.optimisation.milestones, "decay": plain.optimisation.decay}
            own = config.optimisation
            assert own == plain.optimisation or replace(own, **rates) == plain.optimisation and own.schedule == "cosine"
            assert (config.data, config.augment, config.crop_fill) == (plain.data, plain.augment, plain.crop_fill)
            teacher = next(one for one in commands if f"runs/{one.where.name}" == config.teacher)
            assert teacher.arch == TEACHERS[row]
            number = int(recipe.score(row, recipe.columns[0], "SID").partition(": ")[0])
            assert commands[-1].against[number - 2] == f"runs/{config.where.name}"
        assert commands[-1].model == f"runs/{plain.where.name}"
    assert FOUND["distillation"].rows == ("none", "vgg-16", "resnet-18", "resnet-34")


@pytest.mark.parametrize(
    ("number", "halving", "arch"),
    [
        ("coherency", "halving", "torchvision:vgg16"),
        ("coherency-short", "halving-short", "vgg-8"),
    ],
)
def test_coherency_is_of_each_convolution_and_the_next(number, halving, arch):
    """Section 4: weights and biases divided by 4, the next one's weights times 4; appendix B: half of the filters."""
    recipe = FOUND[number]
    training, config = (meant(line) for line in recipe.commands(recipe.rows[0], "SID", 0))
    assert training.arch == arch and config.model == f"runs/{training.where.name}"
    assert (config.factor, config.halved, config.measured, config.tolerance) == (4, "even", ("sid",), 1e-3)
    assert (config.noise.alpha, config.noise.method, config.compensated) == (1.5e-4, "solve", False)
    assert FOUND[halving].rows == recipe.rows and FOUND[halving].columns == ("SID",)
    assert FOUND[halving].commands(recipe.rows[0], "SID", 0) == recipe.commands(recipe.rows[0], "SID", 0)
    assert FOUND[halving].score(recipe.rows[0], "SID", "change") == f"{config.asked_layers[0]} SID halved change"
    uncertain = [row for row in recipe.rows if (row, "RU") not in recipe.gaps]
    ru = meant(recipe.commands(uncertain[0], "RU", 0)[-1])
    assert ru.measured == ("ru",) and ru.retrained and ru.halved == "none" and ru.baselines == ()
    assert ru.asked_layers == tuple(recipe.score(row, "RU", "after").split()[0] for row in uncertain)
    side = 32 if arch == "vgg-8" else 64
    with torch.device("meta"):
        modules = dict(zoo.build(arch, classes=10, image_shape=(3, side, side)).named_modules())
    layers = [name for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)]
    relus = [name for name, module in modules.items() if isinstance(module, nn.ReLU)]
    convolutions = [name for name in layers if isinstance(modules[name], nn.Conv2d)]
    assert [f"body.{name}" for name in config.asked_layers] == relus[: len(config.asked_layers)]
    assert len(recipe.rows) == (12 if arch != "vgg-8" else 5) and len(convolutions) == (13 if arch != "vgg-8" else 5)
    averaged = [row for row in recipe.rows if (row, "CAM") not in recipe.gaps and "CAM" in recipe.columns]
    assert averaged == (["5"] if arch == "vgg-8" else []), "CAM takes what is averaged before the final layer"


@pytest.mark.parametrize(("number", "vggs"), [("damage", ("vgg-16", "vgg-19")), ("damage-short", ("vgg-8",))])
def test_damaged_networks_have_four_filters_in_the_last_convolutions(number, vggs):
    """Section 4: a specific convolution, the last or second last (appendix G), has 4 filters of 7x7, with padding 3."""
    recipe = FOUND[number]
    assert recipe.rows == tuple(f"{row}{end}" for row in vggs for end in ("", "-last", "-second-last"))
    for row in vggs:
        *trainings, measure = (meant(line) for line in recipe.commands(f"{row}-last", recipe.columns[0], 0))
        whole, last, second = trainings
        for config in (last, second):
            assert (config.narrow_filters, config.narrow_kernel) == (4, 7)
            alike = replace(config, narrow=None, narrow_filters=None, narrow_kernel=None, where=whole.where)
            assert alike == whole, "nothing else differs"
        assert whole.data.data == ("cifar10" if row == "vgg-8" else "birds-against-random")
        side = 32 if row == "vgg-8" else 64
        with torch.device("meta"):
            network = zoo.build(whole.arch, classes=2, image_shape=(3, side, side))
            places = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
            assert [config.narrow for config in (second, last)] == [name.removeprefix("body.") for name in places[-2:]]
            # The column of the revised layer is the one behind it: it has four channels there, and nowhere else.
            columns = [
                column for column in recipe.columns if column not in ("penultimate", "logits", "fc6", "fc7", "fc8")
            ]
            for config, revised in ((last, columns[-1]), (second, columns[-2])):
                damaged = zoo.build(whole.arch, classes=2, image_shape=(3, side, side), narrow=config.narrow)
                sites = [recipe.score(row, column, "SID").split()[0] for column in columns]
                channels = [shape[1] for shape in shapes_of(damaged.eval(), sites, side)]
                assert [columns[place] for place, count in enumerate(channels) if count == 4] == [revised]


@pytest.mark.parametrize(
    ("number", "study"),
    [("concentration", None), ("damage-concentration", "damage"), ("pruning-concentration", "pruning")],
)
def test_concentration_is_of_birds_with_something_around_them(number, study):
    """Section 4: networks see the birds' boxes, and are measured on 1.5 times their width and height."""
    recipe = FOUND[number]
    assert recipe.metrics == ("concentration",) and recipe.extra == ("concentration error",)
    if study is not None:
        assert (recipe.rows, recipe.columns) == (FOUND[study].rows, FOUND[study].columns)
    for row in recipe.rows:
        lines = recipe.commands(row, recipe.columns[0], 0)
        *made, measure = (meant(line) for line in lines)
        assert measure.data == "cub-200-2011-1.5" and str(measure.objects.boxes) == "auto"
        assert measure.measured == ("concentration",) and len(measure.asked_layers) == len(recipe.columns)
        trained = {config.data.data for config in made if hasattr(config, "data")}
        assert trained == {"birds-against-random" if study == "damage" else "cub-200-2011"}
        if study is not None:  # the networks of the other table, no others
            assert lines[:-1] == FOUND[study].commands(row, recipe.columns[0], 0)[:-1]


@pytest.mark.parametrize("number", ["pruning", "pruning-short"])
def test_pruned_networks_keep_the_paper_s_parts_of_one_network(number):
    """Appendix A: 38.0, 12.8 and 8.0 % of the parameters; appendix E: 93.3 % removed."""
    recipe = FOUND[number]
    assert recipe.rows[:4] == ("100", "38.0", "12.8", "8.0") and recipe.rows[4:] in ((), ("6.7",))
    trained, *pruned, measure = (meant(line) for line in recipe.commands("8.0", recipe.columns[0], 0))
    assert [config.keep for config in pruned] == [float(row) / 100 for row in recipe.rows[1:]]
    for config in pruned:
        assert config.model == f"runs/{trained.where.name}" and config.keep_by == "global"
        own, before = config.optimisation, trained.optimisation
        assert own.lr == pytest.approx(before.lr / 10) and own.epochs < before.epochs
        assert (own.batch_size, own.optimizer, own.weight_decay) == (
            before.batch_size,
            before.optimizer,
            before.weight_decay,
        )
    assert [measure.model, *measure.against] == [f"runs/{config.where.name}" for config in (trained, *pruned)]


def test_robustness_is_appendix_a_s():
    """Its table, of the networks of figure 4b: SID of fc8, and changes towards the 20 likeliest wrong classes."""
    recipe, short = FOUND["robustness"], FOUND["robustness-short"]
    assert recipe.rows == ("100", "38.0", "12.8", "8.0") and recipe.columns == ("SID", "robustness")
    assert [recipe.published[row, "SID"] for row in recipe.rows] == [(-2.690,), (-2.693,), (-2.695,), (-2.723,)]
    assert [recipe.published[row, "robustness"] for row in recipe.rows] == [
        (0.00276,),
        (0.00281,),
        (0.00254,),
        (0.00109,),
    ]
    for number, of, last, wrong in (
        ("robustness", "pruning", "fc8", 20),
        ("robustness-short", "pruning-short", "logits", 9),
    ):
        recipe = FOUND[number]
        for row in recipe.rows:
            assert recipe.commands(row, "SID", 0) == FOUND[of].commands(row, last, 0), "measured once for both"
            assert recipe.score(row, "SID", "value") == FOUND[of].score(row, last, "SID")
            *made, config = (meant(line) for line in recipe.commands(row, "robustness", 0))
            assert config.model == f"runs/{recipe.run(row, 'robustness', 0)}" == f"runs/{made[-1].where.name}"
            assert (config.wrong, config.departure) == (wrong, "label") and config.out is None
    assert short.published == {} and recipe.score("8.0", "robustness", "error") == "RMS error"


def test_auto_encoders_are_of_the_classifiers_layers():
    """Footnote 2: the layers of a ResNet before the final one, and the decoder of RU."""
    recipe = FOUND["networks"]
    rows = [row for row in recipe.rows if row.startswith("autoencoder-")]
    assert rows == ["autoencoder-resnet-20", "autoencoder-resnet-32", "autoencoder-resnet-44"]
    for row in rows:
        arch = row.removeprefix("autoencoder-")
        training, measure = (meant(line) for line in recipe.commands(row, "1", 0))
        assert (training.arch, training.decoder_width, training.code) == (arch, 64, "maps")
        assert measure.asked_layers == meant(recipe.commands(arch, "1", 0)[-1]).asked_layers
        assert measure.measured == ("sid", "ru") and (row, "logits") in recipe.gaps


def test_cells_that_there_are_none_of_are_neither_shown_nor_run(penult):
    said = penult("table", "discarding", "networks-short", "--show")
    rows = [line.split()[:2] for line in said.out.splitlines()]
    assert ["vgg-8", "5"] in rows and ["resnet-20", "3"] in rows and ["resnet-20", "5"] not in rows
    refused = penult("table", "discarding", "networks-short", "--row", "resnet-20", "--column", "5")
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert "columns of resnet-20 are 1, 2, 3, penultimate, logits" in refused.err
    listed = penult("table", "discarding", "networks-short", "--list", "--column", "5").out
    assert "vgg-8" in listed and "resnet" not in listed


TINY = '''"""A stand-in of a paper, of networks of digits."""

from apps.recipes.discarding.by_layer import Networks, by_layer, trained
from apps.recipes.discarding.protocol import Measuring, Protocol, Schooling

HOW = Protocol(
    "digits", "tiny", Schooling(epochs=0.2, rate=0.01),
    Measuring(
        images=3, grid=4, method="linear", decoder_epochs=0.1, decoder_images=140, decoder_width=2
    ),
)
QUICK = " --probes 2 --sid-check 4 --ru-steps 1 --ru-samples 2 --ru-measured 4 --shown 0"
LAYERS = {"first": "norm1", "logits": "logits"}
PAIR = {"whole": trained(HOW, "convnet"), "half": trained(HOW, "convnet-half")}

TABLES = {
    "1": by_layer(
        "Tiny; nothing of it is published",
        "No more.",
        [
            Networks(HOW, "pair", PAIR, LAYERS, "sid,ru", 1, QUICK),
            Networks(HOW, "alone", {"mlp": trained(HOW, "mlp")}, {"hidden": "hidden1", "logits": "logits"}, more=QUICK),
        ],
    )
}
'''


@pytest.fixture
def tiny(tmp_path, monkeypatch, penult):
    (tmp_path / "recipes/tiny").mkdir(parents=True)
    (tmp_path / "recipes/tiny/__init__.py").write_text(TINY)
    monkeypatch.setattr(apps.recipes, "__path__", [*apps.recipes.__path__, str(tmp_path / "recipes")])
    importlib.invalidate_caches()
    yield ("table", "tiny", "1", "--device", "cpu", "--threads", 1)
    importlib.sys.modules.pop("apps.recipes.tiny", None)


def test_a_table_of_layers_is_run_printed_and_resumed(penult, tiny, tmp_path):
    said = penult(*tiny)
    assert said.status == 0, said.err
    assert said.out.count("penult train") == 5 and said.out.count("penult analyse discard") == 3
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in said.out.splitlines()}
    pair, alone = {"whole": "convnet", "half": "convnet-half"}, {"mlp": "mlp"}
    for folder, networks, columns in (
        ("pair-maps", pair, ("first",)),
        ("pair-vectors", pair, ("logits",)),
        ("alone", alone, ("hidden", "logits")),
    ):
        (entry,) = json.loads((tmp_path / f"runs/tiny-{folder}-seed0/discard.json").read_text())
        assert list(entry["scores"]) == [f"tiny-{arch}-seed0" for arch in networks.values()]
        for row, layers in zip(networks, entry["scores"].values(), strict=True):
            for column in columns:
                own = layers[{"first": "norm1", "hidden": "hidden1"}.get(column, column)]
                expected = [own.get(name) for name in ("SID", "RU", "SID error", "RU error")]
                sid, ru, *errors = ["-" if value is None else f"{value:.4f}" for value in expected]
                assert rows[row, column] == ["1/1", sid, "-", ru, "-", *errors]
                assert (ru == "-") == (column != "first")
    assert ("mlp", "first") not in rows and rows["whole", "first"] != rows["half", "first"]
    assert "penult" not in penult(*tiny).out, "nothing is done twice"
    path = tmp_path / "runs/tiny-alone-seed0/discard.json"
    (entry,) = json.loads(path.read_text())
    path.write_text(json.dumps([entry | {"noise": entry["noise"] | {"alpha": 1e-3}}]))
    shown = [line.split() for line in penult(*tiny, "--show").out.splitlines()]
    assert ["mlp", "logits", "0/1", *"-" * 6] in shown, "by another alpha"
