"""The quality of the embedded models on held-out edits and samples."""
