"""All that is published, in one place: every cell of every table, what it came to here, or what it would take."""
