"""The quality and speed of segmenters, as DAVIS measures them."""
