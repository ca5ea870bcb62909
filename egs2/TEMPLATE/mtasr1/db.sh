#!/usr/bin/env bash
# Where corpora lie. The local/data.sh of a recipe with real corpora sources it; empty
# means that its stage 1 gets the corpus. The mini recipe makes its own and has options.

# The folder that holds train-clean-100, dev-clean, test-clean, ... and SPEAKERS.TXT.
export LIBRISPEECH=${LIBRISPEECH:-}
# The folder that holds tr, cv and tt (wham_noise, unpacked).
export WHAM_NOISE=${WHAM_NOISE:-}
# Ready LibriMix metadata: the folder that holds Libri2Mix and Libri3Mix.
export LIBRIMIX_METADATA=${LIBRIMIX_METADATA:-}
