"""What PyTorch has no quick kernel for on a GPU, written in Triton; the modules above compute the same without it."""
