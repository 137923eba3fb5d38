"""Grading: a student's process in a cage, a judge outside it, and what carries verdicts from there to the gradebook."""

import autograder.environment  # noqa: F401  (before any of its modules imports nbformat)
