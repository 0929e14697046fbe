"""Video priors: one adapter per model family, all speaking the same protocol."""
