"""Download the corpora that LibriMix is mixed from, and its metadata.

`archives` lists the published archives, `fetch` downloads one file, `unpack` checks and
unpacks one archive, `check` checks existing folders, and `corpora` does all of it in
order. The idea is from lhotse's `download_X` functions, which can be stopped and run
again.
"""
