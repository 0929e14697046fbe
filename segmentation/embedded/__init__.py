"""The segmenter that needs no download."""
