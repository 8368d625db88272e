"""What a network's layers discard of images: measured layer by layer, with decoders trained for it, and drawn."""
