"""Sets by a word and a colon: a table of the datasets library, shards, a data set of one's own; all alike."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apps.command.own_code import _named, allow
from apps.data.batches import Batches
from apps.data.image_set import channel_statistics
from apps.data.sources import load
from apps.data.sources.forms import form_of
from apps.data.sources.shard_index import members
from apps.data.sources.shards import expanded
from priors.errors import InputError

NAMES = ("ant", "bee", "cat")
COUNTS = {"train": 14, "test": 5}


def pixels(split: str, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Noise of 6x5 pixels in three classes."""
    rng = np.random.default_rng(COUNTS[split])
    shape = (COUNTS[split], 6, 5, 3) if channels == 3 else (COUNTS[split], 6, 5)
    return rng.integers(0, 256, shape, np.uint8), np.arange(COUNTS[split]) % 3


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


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


def write_shards(folder: Path, each: int = 4, names: bool = True, places: str = "{split}-{number:03d}.tar") -> Path:
    for split in COUNTS:
        images, labels = pixels(split)
        for start in range(0, len(labels), each):
            path = folder / places.format(split=split, number=start // each)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w") as shard:
                for number in range(start, min(start + each, len(labels))):
                    add(shard, f"{number:05d}.png", encoded(images[number]))
                    add(shard, f"{number:05d}.cls", str(labels[number]).encode())
    if names:
        (folder / "classes.txt").write_text("\n".join(NAMES))
    return folder


def add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    shard.addfile(info, io.BytesIO(data))


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


def test_samples_are_those_that_webdataset_reads(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    folder = tmp_path / "odd"
    folder.mkdir()
    images, labels = pixels("train")
    with tarfile.open(folder / "train-0.tar", "w") as shard:
        add(shard, "__meta__", b"no sample")
        add(shard, "README", b"no sample")
        for number, name in enumerate(("deep/er/a", "b", "c", "./d")):
            add(shard, f"{name}.PNG", encoded(images[number]))
            add(shard, f"{name}.seg.png", encoded(images[number + 4]))
            add(shard, f"{name}.json", b"{}")
            add(shard, f"{name}.cls", str(labels[number]).encode())
    with tarfile.open(folder / "test-0.tar", "w") as shard:
        add(shard, "a.png", encoded(images[0]))
        add(shard, "a.cls", b"0")
    with open(folder / "train-0.tar", "rb") as file:  # the library leaves what it opens to the collector
        theirs = list(
            webdataset.tariterators.group_by_keys(
                webdataset.tariterators.tar_file_expander([{"url": "train-0.tar", "stream": file}])
            )
        )
    ours: dict = {}
    for member in members(folder / "train-0.tar"):
        ours.setdefault(member.key, []).append(member.extension)
    assert list(ours) == [sample["__key__"] for sample in theirs]
    for sample in theirs:
        assert ours[sample["__key__"]] == [name for name in sample if not name.startswith("__")]
    found = load(folder)
    assert torch.equal(found.images, torch.from_numpy(images[:4]).permute(0, 3, 1, 2))
    decoded = [np.asarray(Image.open(io.BytesIO(sample["png"]))) for sample in theirs]
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), np.stack(decoded))
    assert found.labels.tolist() == [int(sample["cls"]) for sample in theirs]


@pytest.mark.parametrize(
    "pattern", ["a", "{a,b}-{08..11}.tar", "x{0..3}{a,b}", "{train-{00..02},test-{3..4}}.tar", "{9..11}"]
)
def test_braces_are_expanded_as_webdataset_does(pattern):
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    assert expanded(pattern) == list(braceexpand(pattern))


def test_an_index_is_kept_and_made_anew_where_a_shard_changed(tmp_path, monkeypatch):
    from apps.data.sources import shard_index

    monkeypatch.setattr(shard_index, "KEPT_FROM", 1)
    write_shards(tmp_path / "shards", names=False)
    first = load(tmp_path / "shards", memory_limit=0)
    assert list((tmp_path / "shards" / ".penult").glob("shards-*.safetensors"))

    def refuse(*_):
        raise AssertionError("looked again")

    with monkeypatch.context() as patch:
        patch.setattr(shard_index, "_looked", refuse)
        again = load(tmp_path / "shards", memory_limit=0)
    assert again.digest == first.digest and torch.equal(again.images.read_all(), first.images.read_all())
    write_shards(tmp_path / "shards", each=3, names=False)
    (tmp_path / "shards" / "train-003.tar").unlink()
    with pytest.raises(InputError, match="there is no shard .*train-003.tar"):
        load(f"wds:{tmp_path}/shards/{{train,test}}-{{000..003}}.tar", memory_limit=0)
    assert load(tmp_path / "shards", memory_limit=0).digest != first.digest
    for path in (tmp_path / "shards" / ".penult").glob("shards-*"):
        path.write_bytes(b"damaged")
    load(tmp_path / "shards", memory_limit=0)


def test_what_is_wrong_with_shards_is_one_line(tmp_path):
    write_shards(tmp_path / "shards", names=False)
    (tmp_path / "empty").mkdir()
    shard = tmp_path / "shards" / "train-000.tar"
    for given, said in {
        f"wds:{tmp_path}/empty": r"holds no shards \(\*.tar\)",
        f"wds:{tmp_path}/none-{{0..1}}.tar": "there is no shard .*none-0.tar",
        f"wds:{tmp_path}/shards/{{train}}.tar": "neither a range such as",
        f"wds:{tmp_path}/shards,label=txt": "no 00000.txt .found: png, cls",
        f"wds:{shard}": "no shards of the test split",
        "wds:https://somewhere/a.tar": "https is a stream",
        "wds:pipe:cat a.tar": "pipe is a stream",
    }.items():
        with pytest.raises(InputError, match=said):
            load(given, "test" if given.endswith("000.tar") else "train")
    content = shard.read_bytes()
    import gzip

    for damaged in (gzip.compress(content), b"no tar", content[:700]):
        shard.write_bytes(damaged)
        with pytest.raises(InputError, match="train-000.tar"):
            load(tmp_path / "shards")
    shard.write_bytes(content)
    lazy = load(tmp_path / "shards", memory_limit=0)
    shard.write_bytes(content[:600])
    with pytest.raises(InputError, match=r"00000 in .*train-000.tar is cut off|damaged"):
        lazy.images.read(0)


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
"""


def test_what_is_wrong_with_a_data_set_of_ones_own_is_one_line(mine):
    mine.write_text(WRONG)
    for name, said in {
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
    }.items():
        allow(f"import:own_insects:{name}")
        with pytest.raises(InputError, match=said):
            load(f"import:own_insects:{name}")
    with pytest.raises(InputError, match="unknown setting of import"):
        form_of("import:a:b,c=3")
