"""All that can happen, together."""

from tests.vfs.machine.events import Events as World

__all__ = ["World"]
