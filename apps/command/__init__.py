"""The command line: dispatch, flags, what is printed, and the configuration that verbs share."""
