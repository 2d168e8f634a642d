"""Errors with a message for the user: what is wrong, and what to do about it."""


class SkinappError(Exception):
    """Anything the user can act on. The app shows the message; the command line prints it and exits with 2."""


class ImageError(SkinappError):
    """A file that cannot be used as an image."""


class ModelError(SkinappError):
    """A model that is unknown, incomplete or altered."""


class DataError(SkinappError):
    """A table, folder or setting that cannot be used."""


class SegmentationError(SkinappError):
    """An image in which no lesion can be segmented."""
