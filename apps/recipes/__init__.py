"""The tables of the papers as data: a folder a paper, with what was measured beside."""
