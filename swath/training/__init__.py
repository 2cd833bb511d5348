"""Training: one loop for every model, its optimiser, schedule, feeding, checkpoints, log and plot."""
