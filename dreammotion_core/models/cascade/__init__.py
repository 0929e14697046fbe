"""Pixel cascades such as Show-1: key frames are edited, later stages make the clip of them."""
