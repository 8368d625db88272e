"""A tour of five papers on handwritten digits: one picture and a few sentences an idea, on one page."""
