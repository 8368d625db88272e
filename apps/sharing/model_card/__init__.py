"""The model card of an export: a README.md in the Hub's format that says nothing the run's files do not."""
