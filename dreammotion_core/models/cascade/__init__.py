"""Cascades of the Show-1 kind."""
