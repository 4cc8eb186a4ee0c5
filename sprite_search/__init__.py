"""Hyperparameter search for sprite-based image models."""

__version__ = "0.1.0"
