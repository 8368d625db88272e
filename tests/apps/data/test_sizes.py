"""Which sizes a folder's pictures are brought to: those of a training, unless others are given."""

from apps.command.config import Data
from apps.data.sizes import sizes_for


def test_another_folder_is_read_as_that_of_the_training(tmp_path):
    trained = Data("elsewhere", image_size=224, resize=256)
    folder = str(tmp_path)
    assert sizes_for(trained, folder) == trained.sizes == {"image_size": 224, "resize": 256, "classes": None}
    assert sizes_for(trained, folder, resize=230) == {"image_size": 224, "resize": 230, "classes": None}
    assert sizes_for(trained, folder, 288) == {"image_size": 288, "resize": None, "classes": None}, (
        "no margin of another size"
    )
    assert sizes_for(trained, folder, 288, 320) == {"image_size": 288, "resize": 320, "classes": None}
    assert sizes_for(trained, "cifar10") == {"image_size": None, "resize": None, "classes": None}, (
        "it has a size of its own"
    )
    assert sizes_for(trained, "cub-200-2011-1.5") == trained.sizes, "a set of pictures of any size has none"
