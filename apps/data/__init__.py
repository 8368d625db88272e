"""Images: sources by name, sets, batches, order, augmentation, shift, and the sweep over all of a set."""
