"""The segmenter that needs no download. `segmenter` shows the steps from a click to a mask."""
