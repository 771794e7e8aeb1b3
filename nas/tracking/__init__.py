"""Trackers: a search or a training as a run in Weights & Biases, MLflow, TensorBoard, or what a user brings.

`trackers.tracked` opens those of a configuration; `tracker.Tracker` is what one of your own has to be.
"""
