"""The one kind of error a user is meant to read: a line that says what came, what was expected, what to do."""


class CourseError(Exception):
    """Bad input. The command prints the message alone, without a traceback, and exits with 2."""
