"""Full training of a detector with any neck."""
