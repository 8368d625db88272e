"""Which sizes a folder's pictures are brought to: those of a training, unless others are given."""

from apps.command.config import Data


def test_another_folder_is_read_as_that_of_the_training(tmp_path):
    trained = Data("elsewhere", image_size=224, resize=256)
    folder = str(tmp_path)
    assert trained.sizes_for(folder) == trained.sizes == {"image_size": 224, "resize": 256}
    assert trained.sizes_for(folder, resize=230) == {"image_size": 224, "resize": 230}
    assert trained.sizes_for(folder, 288) == {"image_size": 288, "resize": None}, "no margin of another size"
    assert trained.sizes_for(folder, 288, 320) == {"image_size": 288, "resize": 320}
    assert trained.sizes_for("cifar10") == {"image_size": None, "resize": None}, "it has a size of its own"
