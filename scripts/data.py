"""`cnn-rnn data` for a checkout: python scripts/data.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["data", *sys.argv[1:]]))
