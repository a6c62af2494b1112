"""`cnn-rnn serve` for a checkout: python scripts/serve.py ..."""

import sys

from cnn_rnn.commands.serve import main

if __name__ == "__main__":
    sys.exit(main())
