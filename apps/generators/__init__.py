"""Class-conditional generators."""
