"""Losses kept on the device and read once in a while. That adding one reads nothing is tested with the loop."""

import math

import torch

from apps.training.meter import Meter


def test_the_meter_means_what_was_added():
    meter = Meter(3, torch.device("cpu"))
    for step in range(1, 4):
        for part in range(2):
            meter.add(step, {"a": torch.tensor(float(step)), "b": torch.tensor(step + part / 2)})
    meter.add(3, {"a": torch.tensor(2.0, requires_grad=True)})
    means, wrong = meter.read()
    assert means == {"a": 2.0, "b": 2.25} and wrong is None
    assert meter.read() == ({}, None)
    meter.add(9, {"a": torch.tensor(7.0)})
    assert meter.read() == ({"a": 7.0}, None)


def test_the_meter_names_the_first_step_that_was_not_finite():
    meter = Meter(2, torch.device("cpu"))
    values = {11: (1.0, 1.0), 12: (1.0, -math.inf), 13: (math.nan, 1.0), 14: (math.nan, math.nan)}
    for step, (a, b) in values.items():
        meter.add(step, {"a": torch.tensor(a), "b": torch.tensor(b)})
    assert meter.read()[1] == (12, "b")
    assert meter.read() == ({}, None)
