"""Networks as a user of penult writes them, in a module of theirs."""

MINE = '''
import os

import torch
from torch import nn

CALLS = [0]


class Maps(nn.Module):
    """Two convolutions, batch norm, a buffer of its own, and a view that takes no other layout."""

    def __init__(self, classes, image_shape, norm=True):
        super().__init__()
        channels, height, width = image_shape
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(6, 4, 3, padding=1)
        self.hidden = nn.Linear(4 * height * width, 12)
        self.out = nn.Linear(12, classes)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, images):
        CALLS[0] += self.training
        if self.training and CALLS[0] == int(os.environ.get("STOP_AT", 0)):
            raise KeyboardInterrupt
        if self.training:
            self.seen += len(images)
        maps = torch.relu(self.conv2(torch.relu(self.norm(self.conv1(images)))))
        return self.out(torch.relu(self.hidden(maps.view(len(images), -1))))


def net(classes, image_shape):
    return Maps(classes, image_shape)


def plain(num_classes, image_shape, *, in_chans):
    assert in_chans == image_shape[0]
    return Maps(num_classes, image_shape, norm=False)


def flat(class_names, image_size):
    """No maps, so no stages."""
    return nn.Sequential(nn.Flatten(), nn.Linear(image_size**2, 12), nn.ReLU(), nn.Linear(12, len(class_names)))


def ten():
    """It names no arguments, so it is given none."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))


def lazy(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(12), nn.ReLU(), nn.Linear(12, classes))


def probable(classes):
    return nn.Sequential(*lazy(classes), nn.Softmax(1))


def logged(classes):
    """Less than its head by one number for all classes: the same probabilities."""
    return nn.Sequential(*lazy(classes), nn.LogSoftmax(1))


class Summed(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one, self.other = nn.Linear(64, classes), nn.Linear(64, classes)

    def forward(self, images):
        return self.one(images.flatten(1)) + self.other(images.flatten(1))


def half():
    return ten().half()


def raises(classes):
    raise ZeroDivisionError("no classes today")


def text():
    return "a network"


def headless(image_shape):
    return nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


class Locked(nn.Module):
    """What it holds cannot be copied."""

    def __init__(self):
        super().__init__()
        import threading

        self.lock, self.head = threading.Lock(), nn.Linear(64, 10)

    def forward(self, images):
        return self.head(images.flatten(1))


class Noted(nn.Module):
    """Its state is more than tensors."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def get_extra_state(self):
        return {"note": 1}

    def set_extra_state(self, state):
        pass

    def forward(self, images):
        return self.head(images.flatten(1))


class Pair(Noted):
    """It gives more than logits."""

    get_extra_state = nn.Module.get_extra_state

    def forward(self, images):
        return self.head(images.flatten(1)), images


class Odd(nn.Module):
    """What it raises is no error of torch's."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head({}["images"])


class Counting(nn.Module):
    """Sizes of its images go through Python, which nothing without data can follow."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, images):
        scale = 1 + float(images.mean().item() > 5)
        return self.head(images.flatten(1) * scale)


def frozen():
    return ten().requires_grad_(False)
'''
