"""Sets by a word and a colon: a table of the datasets library, shards, a data set of one's own; all alike."""

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from insects import COUNTS, NAMES, add, encoded, pixels, write_shards

from apps.command.own_code import _named, allow
from apps.data.batches import Batches
from apps.data.image_set import channel_statistics
from apps.data.sources import load
from apps.data.sources.forms import form_of
from apps.models.named import classifier
from priors.errors import InputError


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A place for the library's own files."""
    import datasets

    place = tmp_path_factory.mktemp("hf-cache")
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = place
    yield datasets
    datasets.config.HF_DATASETS_CACHE = before


def tables(datasets, channels: int = 3, names=NAMES):
    features = datasets.Features(
        {"id": datasets.Value("int64"), "photo": datasets.Image(), "species": datasets.ClassLabel(names=list(names))}
    )
    found = {}
    for split in COUNTS:
        images, labels = pixels(split, channels)
        rows = {"id": list(range(len(labels))), "photo": list(map(Image.fromarray, images)), "species": labels.tolist()}
        found[split] = datasets.Dataset.from_dict(rows, features=features)
    return datasets.DatasetDict(found)


@pytest.fixture
def npz(tmp_path) -> Path:
    arrays = {f"{axis}_{split}": part for split in COUNTS for axis, part in zip("xy", pixels(split), strict=True)}
    np.savez(tmp_path / "insects.npz", classes=np.array(NAMES), **arrays)
    return tmp_path / "insects.npz"


MINE = """
import numpy as np, torch
from PIL import Image
from torch.utils.data import Dataset

class Insects(Dataset):
    classes = ["ant", "bee", "cat"]

    def __init__(self, split, kind="pil"):
        count = {"train": 14, "test": 5}[split]
        self.images = np.random.default_rng(count).integers(0, 256, (count, 6, 5, 3), np.uint8)
        self.targets = [number % 3 for number in range(count)]
        self.kind = kind

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        pixels = self.images[number]
        if self.kind == "array":
            return pixels, np.int64(self.targets[number])
        if self.kind == "tensor":
            return torch.from_numpy(pixels.transpose(2, 0, 1)).float() / 255, torch.tensor(self.targets[number])
        return Image.fromarray(pixels), self.targets[number]

def insects(split): return Insects(split)
def arrays(split): return Insects(split, "array")
def tensors(part): return Insects(part, "tensor")
def both(): return {"train": Insects("train"), "test": Insects("test")}
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The user's module in the current folder."""
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "own_insects.py").write_text(MINE)
    yield tmp_path / "own_insects.py"
    sys.modules.pop("own_insects", None)
    _named.clear()


def test_the_same_images_are_the_same_set_from_wherever_they_come(npz, cached, mine, tmp_path):
    tables(cached).save_to_disk(tmp_path / "saved")
    for split, table in tables(cached).items():
        (tmp_path / "parquet").mkdir(exist_ok=True)
        table.to_parquet(str(tmp_path / "parquet" / f"{split}-00000-of-00001.parquet"))
    write_shards(tmp_path / "shards")
    write_shards(tmp_path / "split", places="{split}/{number}.tar", names=False)
    (tmp_path / "split" / "classes.txt").write_text("\n".join(NAMES))
    forms = [
        f"hf:{tmp_path}/saved",
        f"hf:{tmp_path}/saved,image=photo,label=species,test=test",
        f"hf:{tmp_path}/saved,streaming",
        f"hf:{tmp_path}/parquet",
        f"hf:{tmp_path}/parquet,streaming",
        f"{tmp_path}/shards",
        f"wds:{tmp_path}/split",
        f"wds:{tmp_path}/shards/{{train,test}}-{{000..001}}.tar,train={tmp_path}/shards/train-*.tar",
        *(f"import:own_insects:{name}" for name in ("insects", "arrays", "tensors", "both")),
    ]
    for split in COUNTS:
        expected = load(npz, split)
        for name in forms:
            allow(name)
            found = load(name, split)
            assert torch.equal(found.images, expected.images), name
            assert torch.equal(found.labels, expected.labels), name
            assert found.class_names == NAMES and found.in_memory
            assert found.digest == expected.digest


def test_an_image_folder_of_the_library_is_that_of_ours(cached, tmp_path):
    for split in COUNTS:
        images, labels = pixels(split)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = tmp_path / "insects" / split / NAMES[label] / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    ours, theirs = load(tmp_path / "insects"), load(f"hf:{tmp_path}/insects")
    assert sorted(map(bytes, ours.images.numpy())) == sorted(map(bytes, theirs.images.numpy()))
    assert ours.class_names == theirs.class_names


def test_what_is_stored_is_decoded_lazily_with_digests_that_tell_of_changes(npz, cached, mine, tmp_path):
    tables(cached).save_to_disk(tmp_path / "saved")
    write_shards(tmp_path / "shards")
    expected = load(npz)
    for name in (f"hf:{tmp_path}/saved", f"wds:{tmp_path}/shards", "import:own_insects:arrays"):
        allow(name)
        lazy = load(name, memory_limit=0)
        assert not lazy.in_memory and torch.equal(lazy.images.read_all(), expected.images)
        assert channel_statistics(lazy) == channel_statistics(expected)
        batches, plain = (Batches(images, 4, seed=0, workers=0) for images in (lazy, expected))
        for number in (0, 3, 5, 1):  # in any order, as after a resumption
            assert torch.equal(batches.at(number).images, plain.at(number).images)
        some = lazy.subset([9, 2])
        assert torch.equal(some.images.read_all(), expected.images[[9, 2]])
        assert load(name, memory_limit=0).digest == lazy.digest != some.digest
        assert load(name, memory_limit=0, image_size=4).digest != lazy.digest
        assert len(load(name, memory_limit=0, first=3)) == 3
    before = {name: load(name, memory_limit=0).digest for name in (f"hf:{tmp_path}/saved", f"{tmp_path}/shards")}
    changed = tables(cached)
    changed["train"] = changed["train"].map(
        lambda row: {"photo": Image.new("RGB", (5, 6))} if row["id"] == 8 else row, load_from_cache_file=False
    )
    changed.save_to_disk(tmp_path / "other")
    assert load(f"hf:{tmp_path}/other", memory_limit=0).digest != before[f"hf:{tmp_path}/saved"]
    with tarfile.open(tmp_path / "shards" / "train-000.tar", "w") as shard:
        for number in range(4):
            add(shard, f"{number:05d}.png", encoded(np.zeros((6, 5, 3), np.uint8)))
            add(shard, f"{number:05d}.cls", b"0")
    assert load(f"{tmp_path}/shards", memory_limit=0).digest != before[f"{tmp_path}/shards"]


def test_workers_decode_what_this_process_does(cached, tmp_path):
    tables(cached).save_to_disk(tmp_path / "saved")
    write_shards(tmp_path / "shards")
    for name in (f"hf:{tmp_path}/saved", f"{tmp_path}/shards"):
        images = load(name, memory_limit=0)
        places = [[(3, 0), (0, 0)], [(7, 0)]]
        for theirs, ours in zip(images.images.stream(places, 2), images.images.stream(places, 0), strict=True):
            assert torch.equal(theirs, ours)


def test_grey_palettes_and_other_sizes(cached, tmp_path):
    tables(cached, channels=1).save_to_disk(tmp_path / "grey")
    found = load(f"hf:{tmp_path}/grey")
    assert found.image_shape == (1, 6, 5) and np.array_equal(found.images[:, 0].numpy(), pixels("train", 1)[0])
    images, labels = pixels("train")
    pictures = [Image.fromarray(image) for image in images[:3]]
    pictures[1] = pictures[1].convert("P")
    pictures[2] = pictures[2].resize((9, 12))
    features = cached.Features({"image": cached.Image(), "label": cached.Value("string")})
    rows = {"image": pictures, "label": ["bee", "ant", "bee"]}
    table = cached.Dataset.from_dict(rows, features=features)
    cached.DatasetDict({"train": table, "validation": table}).save_to_disk(tmp_path / "mixed")
    name = f"hf:{tmp_path}/mixed"
    with pytest.raises(InputError, match=r"row 2 of .* is 12x9\): give an image size \(--image-size\) for all"):
        load(name)
    found = load(name, image_size=4)
    assert found.class_names == ("ant", "bee") and found.labels.tolist() == [1, 0, 1]
    from torchvision.transforms import v2

    usual = v2.Compose([v2.Resize(4), v2.CenterCrop(4), v2.PILToTensor()])
    assert torch.equal(found.images, torch.stack([usual(picture.convert("RGB")) for picture in pictures]))


def test_pixels_and_bytes_in_columns_and_slices_of_a_split(cached, tmp_path):
    images, labels = pixels("train")
    features = cached.Features({"x": cached.Array3D((6, 5, 3), "uint8"), "y": cached.Value("int32")})
    table = cached.Dataset.from_dict({"x": images, "y": labels.tolist()}, features=features)
    table.save_to_disk(tmp_path / "pixels")
    name = f"hf:{tmp_path}/pixels,train=train[:80%],test=train[80%:]"
    train, test = load(name), load(name, "test")
    assert torch.equal(torch.cat([train.images, test.images]), torch.from_numpy(images).permute(0, 3, 1, 2))
    assert (len(train), len(test), train.class_names) == (11, 3, ("0", "1", "2"))
    lazy = load(name, memory_limit=0)
    assert torch.equal(lazy.images.read_all(), train.images) and lazy.digest == load(name, memory_limit=0).digest
    features = cached.Features({"file": cached.Value("binary"), "y": cached.Value("int32")})
    rows = {"file": [encoded(image) for image in images], "y": labels.tolist()}
    cached.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "bytes")
    with pytest.raises(InputError, match="has no column of pictures among file, y: name one as ,image=COLUMN"):
        load(f"hf:{tmp_path}/bytes,test=train")
    assert torch.equal(
        load(f"hf:{tmp_path}/bytes,test=train[:50%],image=file").images,
        train.images.new_tensor(images.transpose(0, 3, 1, 2)),
    )


def test_what_is_wrong_with_a_table_is_one_line(cached, tmp_path, monkeypatch):
    tables(cached).save_to_disk(tmp_path / "saved")
    name = f"hf:{tmp_path}/saved"
    for given, said in {
        "hf:": "expected hf:NAME",
        f"{name},lable=x": "unknown setting of hf: 'lable': did you mean 'label'",
        f"{name},streaming=yes": "'streaming=yes' is not understood",
        f"{name},label": "'label' is not understood",
        f"{name},label=specis": "unknown column of .*: did you mean 'species'",
        f"{name},label=photo": "column photo is .*, no classes",
        f"{name},image=id": "column id is int64, no pictures",
        f"{name},test=tset": "did you mean 'test'",
        f"{name},train=train[:80%": "is no slice of its splits",
        f"hf:{tmp_path}/nowhere/at/all": "is not here",
    }.items():
        with pytest.raises(InputError, match=said):
            load(given)
    several = tables(cached).map(lambda row: {"genus": row["species"]})
    several.cast_column("genus", cached.ClassLabel(names=list(NAMES))).save_to_disk(tmp_path / "several")
    with pytest.raises(InputError, match=r"2 columns that may be classes \(species, genus\).*name one as ,label="):
        load(f"hf:{tmp_path}/several")
    tables(cached, names=(*NAMES, "dog")).save_to_disk(tmp_path / "empty")
    with pytest.raises(InputError, match=r"class 3 \(dog\) has no training images: .*--classes"):
        load(f"hf:{tmp_path}/empty")
    alone = tables(cached)["train"]
    alone.save_to_disk(tmp_path / "alone")
    with pytest.raises(InputError, match=r"no split of the name .* \(found: train\): name one as ,test=SPLIT"):
        load(f"hf:{tmp_path}/alone", "test")
    monkeypatch.setattr("apps.data.sources.hugging_face.STREAMED_BYTES", 100)
    with pytest.raises(InputError, match="held in memory.*leave ,streaming out"):
        load(f"{name},streaming")
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        load(name)


def test_of_a_row_nothing_but_its_picture_is_read(cached, tmp_path):
    """Another column may hold pictures that are damaged, or sound that needs a library of its own."""
    both = tables(cached).map(lambda row: {"mask": {"bytes": b"no picture", "path": None}}, remove_columns=[])
    both.cast_column("mask", cached.Image()).save_to_disk(tmp_path / "both")
    found = load(f"hf:{tmp_path}/both,image=photo", memory_limit=0)
    assert found.images.read(0).shape == found.images.image_shape and found.digest


def test_code_of_ones_own_is_run_where_it_is_named_alone(mine):
    with pytest.raises(InputError, match="the run was made with import:own_insects:insects, which is code"):
        load("import:own_insects:insects")


WRONG = """
from torch.utils.data import IterableDataset
import numpy as np
class Stream(IterableDataset):
    def __iter__(self): return iter(())
def stream(split): return Stream()
def nothing(): return 3
def split_dict(split): return {"train": make((np.zeros((2, 2), np.uint8), 0))}
def broken(split): raise RuntimeError("no disk")
class One:
    classes = ["a", "a"]
    def __init__(self, item): self.item = item
    def __len__(self): return 2
    def __getitem__(self, number):
        if isinstance(self.item, Exception): raise self.item
        return self.item() if callable(self.item) else self.item
def twice(split): return One((np.zeros((2, 2), np.uint8), 0))
def make(item):
    made = One(item)
    made.classes = None
    return made
def three(split): return make((1, 2, 3))
def text(split): return make(("a.png", 0))
def fraction(split): return make((np.zeros((2, 2), np.uint8), 0.5))
def normalised(split): return make((np.full((2, 2), -1.5, np.float32), 0))
def deep(split): return make((np.zeros((2, 2), np.uint16) + 300, 0))
def raising(split): return make(KeyError("gone"))
def augmenting(split): return make(lambda: (np.random.randint(0, 256, (8, 8), np.uint8), 0))
def shape(split): return make((np.zeros((2, 2, 2), np.uint8), 0))
def infinite(split): return make((np.zeros((2, 2), np.uint8), float("inf")))
def program(): raise SystemExit(0)
class Flipped(One):
    classes = 2
    def __len__(self): return 40
    def __getitem__(self, number):
        image = np.arange(4, dtype=np.uint8).reshape(2, 2)
        return image[:, :: np.random.choice((-1, 1)) if number else 1], 0
def flipped(split): return Flipped(None)
def counted(split):
    import torch
    made = One((torch.full((1, 2, 2), 0.5, dtype=torch.bfloat16), 0))
    made.classes = 1
    return made
"""


def test_what_is_wrong_with_a_data_set_of_ones_own_is_one_line(mine):
    mine.write_text(WRONG)
    for name, said in {
        "split_dict": r"split_dict\(split='train'\) gave a dict, expected a map-style torch Dataset",
        "stream": "gave a Stream, expected a map-style torch Dataset",
        "nothing": "takes no split, and gave a int: expected a parameter split, or a dict",
        "broken": r"broken\(split='train'\) raised RuntimeError: no disk",
        "twice": "2 classes are called 'a'",
        "three": r"item 0 of .* is a tuple, expected \(image, class\)",
        "text": "is a str, expected a PIL image",
        "fraction": "has the class 0.5, expected a whole number",
        "normalised": "pixels from -1.5 to -1.5: .*not normalised",
        "deep": "pixels from 300 to 300",
        "raising": "raised KeyError",
        "augmenting": "is another image each time: .*--augment",
        "shape": r"pixels of shape \(2, 2, 2\)",
        "strem": "did you mean 'stream'",
        "infinite": "has the class inf, expected a whole number",
        "program": r"program\(\) raised SystemExit: 0",
        "flipped": "is another image each time",  # by chance not seen of one in 2^15 data sets
    }.items():
        allow(f"import:own_insects:{name}")
        with pytest.raises(InputError, match=said):
            load(f"import:own_insects:{name}")
    allow("import:own_insects:counted")
    found = load("import:own_insects:counted")
    assert found.class_names == ("0",) and found.images.unique().tolist() == [128]
    with pytest.raises(InputError, match="unknown setting of import"):
        form_of("import:a:b,c=3")


def test_the_same_images_give_the_same_run_and_code_is_named_again(penult, npz, cached, mine, tmp_path):
    tables(cached).save_to_disk(tmp_path / "saved")
    write_shards(tmp_path / "shards")
    weights = []
    for number, name in enumerate((npz, "hf:saved", "wds:shards", "import:own_insects:tensors")):
        words = "--arch", "mlp", "--epochs", 2, "--batch-size", 4, "--device", "cpu", "--augment", "flip+trivial"
        trained = penult("train", "classifier", "--data", name, *words, "--name", f"run{number}")
        assert trained.status == 0
        weights.append(classifier(f"runs/run{number}").state_dict())
    for other in weights[1:]:
        assert all(torch.equal(other[name], value) for name, value in weights[0].items())
    assert trained.out.rstrip().endswith("--concentration 20 --allow import:own_insects:tensors")  # of the last one
    _named.clear()  # another command line
    said = penult("evaluate", "runs/run3")
    assert said.status == 2 and "which is code: name it as well" in said.err
    assert penult("evaluate", "runs/run3", "--data", "import:own_insects:tensors").status == 0
    assert penult("evaluate", "runs/run3", "--data", "hf:saved").status == 0
