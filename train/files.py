"""Files that are whole or not there, as the commands here write them."""

from skinapp.files import replacing

__all__ = ["replacing"]
