"""What the cost benchmarks share: counted tensors, and models with random weights in exact shapes."""
