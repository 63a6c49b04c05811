"""Datasets, samplers and the DataLoader; programs use them as `rushlight.utils.data`, as in PyTorch."""
