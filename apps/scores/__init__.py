"""Kinds of scores: who makes each, where it is kept, and whether what is kept is what a command asks for."""
