"""The page of `espnet-mtasr demo`: see and hear who said what, and mix talkers.

`page` is what gradio shows and `server` serves it; the other modules work without
gradio. The recordings in `assets/` and their tables are written by the mini recipe's
`local/experiments/make_demo_samples.py`.
"""
