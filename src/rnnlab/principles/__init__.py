"""The principles without PyTorch: cells, losses and optimizers with their gradients written out in NumPy, to be read in a lecture."""
