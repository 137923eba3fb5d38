"""Checks and grades the course's homework: the bank of exercises and the engine that judges with it."""

from autograder.check import check

__all__ = ["check"]
