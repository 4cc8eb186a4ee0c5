"""Sprite models: the science. Needs torch, numpy, scipy and torchvision, and nothing else."""
