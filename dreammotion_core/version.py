"""The version of this library, stated once."""

__version__ = "0.2.0"
