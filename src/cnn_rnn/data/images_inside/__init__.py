"""Data sets that carry their images, as Parquet shards and the Hub have them."""
