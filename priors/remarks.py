"""Lines for the user that are no errors: on the log of this package, which goes to standard error unless it is set."""

import logging
import os


def remark(text: str) -> None:
    """Say one line, as a warning of the logger "priors"; of several processes only the first does."""
    if os.environ.get("RANK", "0") == "0":
        logging.getLogger("priors").warning("%s", text)
