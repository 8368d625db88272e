"""Power spectra of images and of activation maps: over rings of frequencies, their exponents, what convolutions do."""
