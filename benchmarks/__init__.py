"""Measurements behind the figures that this project reports; each module is a command."""
