"""`cnn-rnn push-to-hub` for a checkout: python scripts/push_to_hub.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["push-to-hub", *sys.argv[1:]]))
