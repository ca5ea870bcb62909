#!/usr/bin/env bash
# The mini recipe trained for hours: the same configuration with more epochs, decoded,
# scored and packed as the model that people can try. Run it again with the same options
# to resume.
set -euo pipefail

max_epoch=200      # Epochs of phase 2.
dropout=0.05       # Of its branches and separators, which overfit in long trainings.
decay_steps=       # Length of its learning-rate schedule (default: stretched with the epochs).
phase1_max_epoch=  # Epochs of a longer phase 1 of its own (default: that of run.sh).
phase1_decay_steps= # Length of that one's schedule.
tag=long           # The training is EXPDIR/mtasr_TAG.
expdir=exp         # Experiments.
phase1_config=conf/train_phase1.yaml
phase2_config=conf/train_phase2.yaml
phase1_args=       # Further options of the trainer.
phase2_args=
stage=1            # First stage of run.sh, which keeps finished work.
dtype=float16      # Type that the packed weights are stored in.
max_mb=6           # Largest size of the packed model, in millions of bytes.

help_message="Usage: local/experiments/train_long.sh [options]
Trains EXPDIR/mtasr_TAG, decodes and scores the test sets, and packs the model as
EXPDIR/mtasr_TAG/mtasr_mini_TAG.zip. Options and defaults:
    --max_epoch ${max_epoch}, --decay_steps, --phase1_max_epoch, --phase1_decay_steps,
    --dropout ${dropout}, --tag ${tag}, --expdir ${expdir}, --stage, --dtype ${dtype}, --max_mb ${max_mb}
(see the top of this script), and those of run.sh except phase1_tag, phase2_tag, stop_stage."

# RESULTS.md quotes it.
MTASR_COMMAND=$(printf '%q ' local/experiments/train_long.sh "$@")
export MTASR_COMMAND
called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
# shellcheck source=../../utils/recipe.sh
. utils/recipe.sh

own_options=(
    max_epoch dropout decay_steps phase1_max_epoch phase1_decay_steps tag expdir
    phase1_config phase2_config phase1_args phase2_args stage dtype max_mb
)
# shellcheck source=../../utils/parse_options.sh
. utils/parse_options.sh

for word in "${passed_options[@]}"; do
    name=${word%%=*}
    case ${name//-/_} in
        __phase[12]_tag) die "${name}: is set here; give --tag" ;;
        __stop_stage | __skip_eval) die "${name}: the model is packed at the end; leave it out" ;;
    esac
done
for n in max_epoch decay_steps phase1_max_epoch phase1_decay_steps; do
    [[ ${!n} =~ ^([1-9][0-9]*)?$ ]] || die "--${n} ${!n}: give a number from 1"
done
[ -n "${max_epoch}" ] || die "--max_epoch is empty; give a number from 1"
[[ ${dropout} =~ ^0(\.[0-9]+)?$ ]] || die "--dropout ${dropout}: give a number from 0 to below 1"
[[ ${tag} =~ ^[A-Za-z0-9_.-]+$ ]] || die "--tag '${tag}': give letters and digits"
[ -n "${phase1_max_epoch}" ] || [ -z "${phase1_decay_steps}" ] ||
    die "--phase1_decay_steps needs --phase1_max_epoch"
case ${dtype} in
    float16 | float32 | int8 | int7) ;;
    *) die "--dtype ${dtype}: choose float32, float16, int8 or int7" ;;
esac
[[ ${max_mb} =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "--max_mb ${max_mb}: give a number"
for f in phase1_config phase2_config; do
    [ -f "${!f}" ] || die "--${f} ${!f}: no such file"
done

# Python is needed before run.sh, which makes the environment, is called.
utils/prepare_environment.sh
# shellcheck source=../../path.sh
. ./path.sh

stretched() { # stretched CONFIG MAX_EPOCH DECAY_STEPS: options of the trainer
    python local/experiments/stretch_schedule.py "$1" "$2" ${3:+--decay_steps "$3"}
}
phase1_tag=phase1
length=$(stretched "${phase2_config}" "${max_epoch}" "${decay_steps}")
dropouts="--encoder_conf wavlm_conf.hidden_dropout=${dropout}"
dropouts+=" --separator_conf dropout=${dropout}"
phase2_args="${length} ${dropouts} ${phase2_args}"
if [ -n "${phase1_max_epoch}" ]; then
    phase1_tag=${tag}_phase1
    length=$(stretched "${phase1_config}" "${phase1_max_epoch}" "${phase1_decay_steps}")
    phase1_args="${length} ${phase1_args}"
fi
exp=${expdir}/mtasr_${tag}
log "${exp} from stage ${stage}; phase 2: ${phase2_args}"
call_run "${passed_options[@]}" --expdir "${expdir}" --stage "${stage}" \
    --phase1_config "${phase1_config}" --phase2_config "${phase2_config}" \
    --phase1_tag "${phase1_tag}" --phase2_tag "${tag}" \
    --phase1_args "${phase1_args}" --phase2_args "${phase2_args}"
card=(--model_card conf/model_card.yaml)
if [ -f data/mixtures.txt ]; then card+=(--mixtures "$(cat data/mixtures.txt)"); fi
python -m espnet_mtasr.bin.mtasr_pack "${card[@]}" --mtasr_train_config "${exp}/config.yaml" \
    --mtasr_model_file "${exp}/valid.loss_ctc.ave.pth" --trust_remote_code \
    --outpath "${exp}/mtasr_mini_${tag}.zip" --dtype "${dtype}" --max_mb "${max_mb}"
