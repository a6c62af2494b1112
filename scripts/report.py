"""`cnn-rnn report` for a checkout: python scripts/report.py ..."""

import sys

from cnn_rnn.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
