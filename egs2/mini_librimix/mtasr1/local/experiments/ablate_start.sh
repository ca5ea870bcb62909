#!/usr/bin/env bash
# What the pretrained branches and the teacher contribute: compares run.sh's result with
# branches from random weights, and with a training without the teacher.
set -euo pipefail

expdir=exp
phase1_args=
phase2_args=
help_message="Usage: local/experiments/ablate_start.sh [options of run.sh]
Prints and writes EXPDIR/ablation.md: cpWER with the talker count predicted and given,
and count accuracy, of three trainings with the same data, seeds and step counts:
    the recipe                what run.sh trains
    branches re-initialized   in phase 1 every branch starts from random weights
    without the teacher       phase 2 with CTC alone (ctc_weight 1), and no phase 1
run.sh keeps a finished training, resumes a stopped one, refuses one with other data,
models or options, and decodes and scores again. All options are passed to run.sh, except
stages, phase1_tag, phase2_tag and the decoding's, which are set here."

called_from=${PWD}
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
# shellcheck source=../../utils/recipe.sh
. utils/recipe.sh

own_options=(expdir phase1_args phase2_args)
# shellcheck source=../../utils/parse_options.sh
. utils/parse_options.sh

for word in "${passed_options[@]}"; do
    name=${word%%=*}
    case ${name//-/_} in
        __stage | __stop_stage | __skip_* | __phase[12]_tag | __inference_config* | \
            __inference_args* | __inference_tag* | __inference_mtasr_model* | \
            __rescore_routing*)
            die "${name}: is set here; omit it"
            ;;
    esac
done
[ -n "${expdir}" ] || die "--expdir is empty; name a folder"

# train_and_score PHASE2_TAG [OPTION...]: by run.sh.
train_and_score() {
    local results=${expdir}/mtasr_$1/results.json
    log "for ${results}: ./run.sh --phase2_tag $*"
    call_run "${passed_options[@]}" --expdir "${expdir}" --phase2_tag "$@"
    [ -f "${results}" ] || die "${results}: run.sh has not written it; see its output"
}

redrawn="--encoder_conf pretrained_branches=false"
train_and_score phase2 --phase1_tag phase1 \
    --phase1_args "${phase1_args}" --phase2_args "${phase2_args}"
train_and_score phase2_redrawn --phase1_tag phase1_redrawn --stage 7 \
    --phase1_args "${phase1_args} ${redrawn}" --phase2_args "${phase2_args} ${redrawn}"
train_and_score phase2_no_teacher --skip_phase1 true --stage 7 \
    --phase2_args "${phase2_args} --model_conf ctc_weight=1.0"

# shellcheck source=../../path.sh
. ./path.sh
python local/experiments/ablation_table.py --output "${expdir}/ablation.md" \
    --run "the recipe" "${expdir}"/mtasr_phase{2,1} \
    --run "branches re-initialized" "${expdir}"/mtasr_phase{2,1}_redrawn \
    --run "without the teacher" "${expdir}/mtasr_phase2_no_teacher"
log "written to ${expdir}/ablation.md"
