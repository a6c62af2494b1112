"""Which labels a run knows: chosen, renamed, joined, held to rules."""
