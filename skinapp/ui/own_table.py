"""A visitor's own table: added, its columns named, its problems told. It stays in their session's memory."""

from skinapp.demographics import Table


def choose() -> Table | None:
    return None
