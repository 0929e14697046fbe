"""Files in and out: videos, frames, masks."""
