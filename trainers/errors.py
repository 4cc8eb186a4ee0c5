"""Errors of the user's making that the science can meet."""


class DataError(ValueError):
    """A file of images, labels or a checkpoint is missing, damaged or of the wrong kind.

    The message says `where: what; what to do`.
    """
