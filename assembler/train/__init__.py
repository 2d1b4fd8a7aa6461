"""Training: data sets, losses, objectives, optimisers, the loop and what measures its result."""
