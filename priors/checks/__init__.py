"""What functions are given: floating-point numbers, labels of classes, numbers of draws and their sources."""
