#!/usr/bin/env bash
# Where corpora lie, for every recipe. Source it. Empty: the recipe's stage 1 says what
# it needs, or makes it.

# The folder that holds train-clean-100, dev-clean, test-clean, ... and SPEAKERS.TXT.
export LIBRISPEECH=${LIBRISPEECH:-}
# The folder that holds tr, cv and tt (wham_noise, unpacked).
export WHAM_NOISE=${WHAM_NOISE:-}
# Ready LibriMix metadata: the folder that holds Libri2Mix and Libri3Mix.
export LIBRIMIX_METADATA=${LIBRIMIX_METADATA:-}
