"""Checks and grades the course's homework: the bank of exercises and the engine that judges with it."""

from autograder.checking import check

__all__ = ["check"]
