"""Edits that are interrupted, and edits of long clips."""
