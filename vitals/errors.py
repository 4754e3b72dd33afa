"""The root of Vigil's errors."""


class VigilError(Exception):
    """Something Vigil can name: the message says what, where and, if possible, what to do next.

    Messages never quote a person's data: they name a field, an index, a length, never a value that came with it.
    """
