"""`cnn-rnn predict` for a checkout: accelerate launch scripts/predict.py ..."""

import sys

from cnn_rnn.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
