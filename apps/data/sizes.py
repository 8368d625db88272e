"""To which size pictures of a data set are brought for a run, and which of its classes. Nothing heavy is imported."""

from apps.command.config import Data
from apps.data.sources.catalogue import takes_size


def sizes_for(
    trained: Data, other: str, image_size: int | None = None, resize: int | None = None, classes: str | None = None
) -> dict[str, int | str | None]:
    """What `apps.data.sources.load` is told of another data set: what is given, and else the sizes of a training.

    Sets of pictures alone have none of their own. Another image size than that of the training is not cut out of what
    this one was. Classes that were chosen for a training are those of the set that it was of.

    Args:
        trained: on which images.
        other: data set: a name, an .npz file or a folder.
        image_size: that is given.
        resize: that is given.
        classes: that are given.
    """
    own = trained if takes_size(other) else Data(other)
    kept = own.resize if image_size is None else None
    if classes is None and other == trained.data:
        classes = trained.classes
    return {"image_size": image_size or own.image_size, "resize": resize or kept, "classes": classes}
