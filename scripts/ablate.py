"""`cnn-rnn ablate` for a checkout: python scripts/ablate.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["ablate", *sys.argv[1:]]))
