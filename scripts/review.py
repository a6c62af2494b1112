"""`cnn-rnn review` for a checkout: python scripts/review.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["review", *sys.argv[1:]]))
