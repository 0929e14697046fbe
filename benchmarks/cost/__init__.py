"""What the cost benchmarks share: counted tensors, random models, a plain step to compare with."""
