"""`cnn-rnn push-to-hub` for a checkout: python scripts/push_to_hub.py ..."""

import sys

from cnn_rnn.commands.push_to_hub import main

if __name__ == "__main__":
    sys.exit(main())
