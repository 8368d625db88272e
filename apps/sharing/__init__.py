"""Handing a model on: export, model card, the Hub."""
