"""The one exception that a user is meant to read."""


class InputError(Exception):
    """Something that the user gave, or the machine lacks, stops the work.

    The message says what was expected, what was found, and what to do. The command line and
    `train.py` print it without a traceback and exit with code 1.
    """
