"""Grading: a student's process in a cage, a judge outside it, and what carries verdicts from there to the gradebook."""
