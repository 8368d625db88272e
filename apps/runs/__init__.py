"""A run's folder: what it holds, its evaluations, and what may be written where."""
