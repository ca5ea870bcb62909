#!/usr/bin/env bash
# Adapts a training to the GPUs and the data. Source it.

# training_hours PARTS NOISE SINGLE_TALKER: hours of audio of the training set, as
# LibriMix and LibriSpeech report them.
training_hours() {
    local part mixed=0 single=0
    for part in ${1//,/ }; do
        case ${part} in
            train-clean-100)
                mixed=$((mixed + 58 + 40))
                single=$((single + 100))
                ;;
            train-clean-360)
                mixed=$((mixed + 212 + 146))
                single=$((single + 363))
                ;;
        esac
    done
    if [ "$2" = both ]; then mixed=$((2 * mixed)); fi
    if [ "$3" = false ]; then single=0; fi
    echo $((mixed + single))
}

# training_plan CONFIG GPUS HOURS [PASSES]: the options of a training on GPUS GPUs, from
# its configuration, which is for 912 h of audio. Estimates, never tried:
#   - a GPU has 60 s of audio at a time, which fits in 24 GB; a step has as much audio as in
#     the configuration, but at least two batches
#   - if a step has more audio, the learning rate grows with the square root of it, and the
#     warm-up has fewer steps: the same audio, and at most a tenth of the training
#   - an epoch has about as much audio as in the configuration; a small training set is
#     one epoch
#   - passes over the data are as many as in the configuration, or PASSES
training_plan() {
    awk -v gpus="$2" -v hours="$3" -v passes="${4:-0}" '
        /^ *(batch_seconds|accum_grad|lr|warmup_steps|num_iters_per_epoch|max_epoch):/ {
            sub(/:/, "", $1)
            of[$1] = $2
        }
        END {
            step = of["batch_seconds"] * of["accum_grad"]
            epoch_hours = of["num_iters_per_epoch"] * of["batch_seconds"] / 3600
            if (!passes) passes = of["max_epoch"] * epoch_hours / 912
            batch = 60 * gpus
            accum = int(step / batch + 0.5)
            if (accum < 2) accum = 2
            growth = batch * accum / step
            warmup = of["warmup_steps"] / growth
            most = passes * hours * 3600 / (batch * accum) / 10
            if (warmup > most) warmup = most
            epochs = int(hours / epoch_hours + 0.5)
            number = "none"
            if (epochs > 1) number = int(hours * 3600 / epochs / batch + 0.5)
            else epochs = 1
            printf "--batch_seconds %d --accum_grad %d", batch, accum
            printf " --optim_conf lr=%.2e", of["lr"] * sqrt(growth)
            printf " --scheduler_conf warmup_steps=%d", warmup + 0.5
            printf " --num_iters_per_epoch %s --max_epoch %d\n", number, passes * epochs + 0.5
        }' "$1"
}
