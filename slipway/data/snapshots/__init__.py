"""Data that have versions: bytes kept by their digest, and names that point there and never move.

Layout below `<home>/data/`: `<sha256>/data.csv` holds the bytes of one file, whatever it was called, and
`names/<name>.json` a `Snapshot`, which is written last. What no name points to is of no snapshot.
"""
