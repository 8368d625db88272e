"""Whether what is measured of a layer hangs on a scale that the next layer undoes: before and after, side by side."""
