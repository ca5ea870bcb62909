"""Get the corpora that LibriMix is mixed from, and its metadata.

`archives` says what is published where, `fetch` downloads one file, `unpack` checks and
unpacks one archive, `check` looks into ready folders, `corpora` does it all in order.
Idea: lhotse's `download_X` functions, which can be stopped and run again.
"""
