"""Triton kernels for what PyTorch is slow at on a GPU; the modules above compute the same without them."""
