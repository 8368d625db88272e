"""A command of penult as torchrun starts it: `torchrun launched.py WORDS`; prints the backend that it ran over."""

import sys

import torch
import torch.distributed

from apps.command.cli import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    print(torch.distributed.get_backend() if torch.distributed.is_initialized() else "none")
    sys.exit(status)
