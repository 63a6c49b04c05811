"""Datasets, samplers and the DataLoader; programs use them by their PyTorch names, in `rushlight.utils.data`."""
