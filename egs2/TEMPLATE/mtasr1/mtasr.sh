#!/usr/bin/env bash
# The stages of a multi-talker ASR recipe, numbered as in ESPnet's asr.sh. A recipe's
# run.sh calls it with its settings, from the recipe's folder.
set -euo pipefail

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (mtasr.sh) $*"
}
die() {
    echo "mtasr.sh: error: $*" >&2
    exit 2
}

# General
stage=1              # First stage to run.
stop_stage=15        # Last stage to run.
skip_stages=         # Other stages to skip, quoted.
skip_data_prep=false # Skip stages 1 to 6.
skip_train=false     # Skip stages 7 to 11.
skip_phase1=false    # Skip stages 7 to 9: phase 2 has no teacher and starts from the encoder.
skip_eval=false      # Skip stages 12 and 13.
skip_packing=        # Skip stage 14 (default: true, unless --stage 14 or --hf_repo is given).
skip_upload_hf=      # Skip stage 15 (default: true, unless --hf_repo is given).
ngpu=0               # GPUs per machine; 0: train on the CPU.
num_nodes=1          # Machines.
num_processes=1      # Processes of a training on the CPU (torchrun).
nj=4                 # Parallel jobs of data preparation and statistics.
inference_nj=4       # Parallel jobs of decoding.
gpu_inference=false  # Decode on GPUs.
dumpdir=dump         # Formatted data.
expdir=exp           # Experiments.
python=python        # Python interpreter.
check_options=false  # Only check the options.

# Data
train_set=           # Name of the training set, in data/.
valid_set=           # Name of the set that chooses the best checkpoint.
test_sets=           # Names of the sets to decode, quoted.
local_data_opts=     # Options of local/data.sh.
talker_counts="2 3"  # Talker counts that the model knows.
mixtures=            # Description of the test data for RESULTS.md (default: data/mixtures.txt)
speed_perturb_factors= # For instance "0.9 1.0 1.1"; empty: none.
audio_format=flac    # flac, wav, or flac.ark or wav.ark (Kaldi archives).
on_the_fly=false     # Write no mixtures; make them while loading, from utt2mixture.
fs=16000             # Sampling rate in Hz.
max_unreadable=0.01  # Maximum share of damaged or missing training recordings.
min_wav_duration=0.1 # Shortest training mixture in seconds.
max_wav_duration=30  # Longest training mixture in seconds.

# Tokens
token_type=bpe       # bpe, char, word or hugging_face: the units of the teacher's tokenizer.
nbpe=1000            # Sentencepiece units.
bpemode=unigram      # unigram or bpe.
token_dir=           # Folder of existing units, of a pretrained model: tokens.txt, bpe.model.
bpe_train_text=      # Text to learn the units from (default: the training set's).
use_ngram=false      # Stage 5 trains an n-gram over the units, and stage 12 fits it on the valid set (with conf/decode_ngram.yaml: true).
ngram_num=           # Units of its longest n-grams (default: 6, less with many units).
max_ngrams=          # Its largest number of n-grams; the rarest are left out (default: no limit).
lm_train_text=       # It also learns from these texts: files, or folders with .txt files, quoted.

# Models
encoder=             # WavLM or Whisper: a folder in Hugging Face format, a hub id, whisper_tiny_en or whisper_base.
encoder_revision=    # Its commit on the hub.
llm=                 # Teacher: a folder, a hub id or smollm2; encoder: the decoder of the encoder's Whisper.
llm_revision=        # Its commit on the hub.

# Training
phase1_config=conf/train_phase1.yaml # Adapts the teacher.
phase1_args=         # Further options of phase 1.
phase2_config=conf/train_phase2.yaml # Trains separator, CTC and talker-count head.
phase2_args=         # Further options of phase 2.
pretrained_model=    # FILE[:SOURCE:TARGET:EXCLUDED], several quoted: phase 1 (with --skip_phase1, phase 2) starts from it.
ignore_init_mismatch=false # Load only those weights of pretrained models that fit.
phase1_tag=          # Name of phase 1's folder (default: from the config's name).
phase2_tag=          # Name of phase 2's folder (default: from the config's name).
asr_exp=             # Phase 2's folder (default: in expdir, by its name).
asr_stats_dir=       # Phase 2's statistics (default: in expdir, by its name).
resume_anyway=false  # Resume a training even if its data or settings have changed.
dynamic_mixing=false # Make new training mixtures in each epoch.
drawn_epochs=0       # Dynamic mixing draws this many epochs once, in stage 4, by phase 2's configuration (0: while training).
cache_trunk=false    # Compute the frozen trunk's outputs once, in stages 7 and 10, for all epochs.
cache_dtype=float16  # Type of the stored outputs: float16 or float32.
aligned_start=       # Phase 2 starts with words aligned by a 1-talker model: its zip, folder, checkpoint or hub id, or curriculum: the training's own first stage.
max_unalignable=0.01 # Maximum share of training mixtures with too few frames for their text.
num_threads=         # Threads of a training process (default: 1 per GPU process; on the CPU, all cores).

# Decoding
eval_valid_set=false # Decode the validation set too.
inference_config=conf/decode.yaml # Options of mtasr_inference; decoder: llm decodes phase 1's model, or download_model's teacher.
inference_args=      # Further options.
inference_tag=       # Name of the decoding folder (default: from the config's name and inference_args).
phase1_model=valid.loss_sot.ave.pth         # Checkpoint that phase 2 starts from, and decoder llm's.
inference_mtasr_model=valid.loss_ctc.ave.pth # Checkpoint to decode with.
rescore_routing=true # Let the branches, and what a wrong count costs, help the talker-count head to choose; fitted on the valid set.
store_posteriors=true # Store the CTC's posteriors over time, which RESULTS.html shows.

# Scoring
text_normalizer=none # Normalizer for texts before scoring: none, whisper_basic or whisper_english.

# Packing, upload, and other people's models
packed_model=        # Archive of stage 14 (default: in phase 2's folder, named by folder and checkpoint).
packed_dtype=float32 # Type of its weights: float32, float16, int8 or int7.
pack_teacher=false   # Pack phase 2's teacher too, so that it can decode; this may add gigabytes.
model_card=          # YAML file with the recipe's text for the model card.
hf_repo=             # Upload to this repository of the Hugging Face hub: owner/name.
hf_private=true      # The repository is private; false: a new one is public.
hf_without_results=false # Upload the model even if it was not scored.
dry_run=false        # Stage 15 only writes the files to upload into a folder.
download_model=      # Decode with this model instead of training one: hub id, zip, folder, speech, mini.
trust_remote_code=false # Allow download_model to name any class and run its code.

help_message="Usage: $0 --train_set NAME --valid_set NAME --test_sets \"NAMES\" [options]
ESPnet's --asr_config, --asr_args, --asr_tag and --inference_asr_model set phase 2's.

$(sed -n '/^# General$/,/^help_message=/p' "${BASH_SOURCE[0]}" |
    sed -e '/^help_message=/d' -e 's/^\([a-z_0-9]*\)=/    --\1 /')"

# A run.sh that calls this script names its own command line.
command_line=${MTASR_COMMAND:-$(printf '%q ' "$0" "$@")}
. utils/espnet_options.sh
. utils/parse_options.sh

[ $# -eq 0 ] || die "unknown option $1 (see $0 --help)"
[ -n "${train_set}" ] || die "--train_set is missing"
[ -n "${valid_set}" ] || die "--valid_set is missing"
[ -n "${test_sets}" ] || die "--test_sets is missing"
. utils/check_options.sh
if [ "${eval_valid_set}" = true ]; then test_sets="${valid_set} ${test_sets}"; fi
for n in stage stop_stage ngpu; do
    [[ ${!n} =~ ^[0-9]+$ ]] || die "--${n} ${!n}: give a number"
done
for n in num_nodes num_processes nj inference_nj; do
    [[ ${!n} =~ ^[1-9][0-9]*$ ]] || die "--${n} ${!n}: give a number from 1"
done
for n in stage stop_stage; do
    [ "${!n}" -le 15 ] || die "--${n} ${!n}: the last stage is 15"
done
for n in skip_packing skip_upload_hf; do
    [[ ${!n} =~ ^(true|false)?$ ]] || die "--${n} takes true or false, not '${!n}'"
done
if [ -n "${hf_repo}" ]; then
    [[ ${hf_repo} =~ ^[^/]+/[^/]+$ ]] || die "--hf_repo ${hf_repo}: must have the form owner/name"
    skip_upload_hf=${skip_upload_hf:-false}
elif [ "${skip_upload_hf}" = false ] || [ "${stage}" -eq 15 ] ||
    [ "${dry_run}" = true ]; then
    die "--hf_repo is missing: give the repository to upload to (owner/name)"
fi
if [ "${stage}" -eq 14 ] || [ "${stop_stage}" -eq 14 ] || [ "${skip_upload_hf}" = false ]; then
    skip_packing=${skip_packing:-false}
fi
skip_packing=${skip_packing:-true}
skip_upload_hf=${skip_upload_hf:-true}
# Don't stop at a stage that is skipped.
if [ "${stop_stage}" -eq 15 ] && [ "${skip_upload_hf}" = true ]; then stop_stage=14; fi
if [ "${stop_stage}" -eq 14 ] && [ "${skip_packing}" = true ]; then stop_stage=13; fi
[ "${stage}" -le "${stop_stage}" ] ||
    die "--stage ${stage} comes after --stop_stage ${stop_stage}: nothing to do"
[ "${num_processes}" -eq 1 ] || [ "${ngpu}" -eq 0 ] ||
    die "--num_processes ${num_processes}: only for the CPU; omit it, with --ngpu ${ngpu}" \
        "each GPU has a process"
for f in phase1_config phase2_config inference_config; do
    [ -f "${!f}" ] || die "--${f} ${!f}: no such file"
done

[[ ${drawn_epochs} =~ ^[0-9]+$ ]] || die "--drawn_epochs ${drawn_epochs}: give a number"
if [ "${dynamic_mixing}" = true ]; then
    if [ "${cache_trunk}" = true ] && [ "${drawn_epochs}" -eq 0 ]; then
        die "--cache_trunk true: mixtures that change in each epoch can't be cached; add" \
            "--drawn_epochs N (12, for example), --dynamic_mixing false or --cache_trunk false"
    fi
    if [ -n "${speed_perturb_factors}" ]; then
        die "--speed_perturb_factors ${speed_perturb_factors}: dynamic mixing changes" \
            "speeds by itself (dynamic_mixing_conf: speeds); add --dynamic_mixing false," \
            "or omit the factors"
    fi
fi
case ${audio_format} in
    flac | wav | flac.ark | wav.ark) ;;
    *) die "--audio_format ${audio_format}: choose flac, wav, flac.ark or wav.ark" ;;
esac
case ${text_normalizer} in
    none | whisper_basic | whisper_english) ;;
    *) die "--text_normalizer ${text_normalizer}: choose none, whisper_basic or whisper_english" ;;
esac
[[ ${cache_dtype} =~ ^float(16|32)$ ]] ||
    die "--cache_dtype ${cache_dtype}: choose float16 or float32"
[[ ${packed_dtype} =~ ^(float(16|32)|int[78])$ ]] ||
    die "--packed_dtype ${packed_dtype}: choose float32, float16, int8 or int7"
if [ -n "${model_card}" ] && [ ! -f "${model_card}" ]; then
    die "--model_card ${model_card}: no such file"
fi
if [ -n "${download_model}" ] && [ "${stop_stage}" -gt 13 ]; then
    die "--download_model ${download_model}: is already packed; omit --hf_repo," \
        "--skip_packing and --stage 14"
fi

read -ra pretrained_models <<<"${pretrained_model}"
for n in "${pretrained_models[@]}"; do
    [ -f "${n%%:*}" ] || die "--pretrained_model ${n}: ${n%%:*}: no such file"
done

tag_of() { # tag_of CONFIG PREFIX
    local name
    name=$(basename "$1" .yaml)
    echo "${name#"$2"}"
}
stem_of() { # stem_of MODEL: its name without .pth
    local name=${1##*/}
    name=${name%.pth}
    echo "${name%.safetensors}"
}
phase1_tag=${phase1_tag:-$(tag_of "${phase1_config}" train_)}
phase2_tag=${phase2_tag:-$(tag_of "${phase2_config}" train_)}

phase1_exp=${expdir}/mtasr_${phase1_tag}
phase2_exp=${asr_exp:-${expdir}/mtasr_${phase2_tag}}
phase1_stats=${expdir}/mtasr_stats_${phase1_tag}
phase2_stats=${asr_stats_dir:-${expdir}/mtasr_stats_${phase2_tag}}
models_dir=${expdir}/models
packed_model=${packed_model:-${phase2_exp}/mtasr_${phase2_tag}_${inference_mtasr_model%.*}.zip}
# The user's own training may name any class.
trust_options=(--trust_remote_code)
if [ -n "${download_model}" ]; then
    skip_train=true
    if [ "${trust_remote_code}" = false ]; then trust_options=(); fi
fi
tokens_are_there=false
if [ -n "${token_dir}" ]; then tokens_are_there=true; fi
case ${token_type} in
    bpe) token_dir=${token_dir:-data/token_list/bpe_${bpemode}${nbpe}} ;;
    char | word) token_dir=${token_dir:-data/token_list/${token_type}} ;;
    hugging_face)
        [ -n "${llm}${token_dir}" ] ||
            die "--token_type hugging_face: uses the teacher's units; give --llm"
        token_dir=${token_dir:-data/token_list/hugging_face_${llm//[^A-Za-z0-9.-]/_}}
        llm_dir=${models_dir}/llm
        if [ "${llm}" = encoder ]; then llm_dir=${models_dir}/encoder; fi
        ;;
    *) die "--token_type ${token_type}: choose bpe, char, word or hugging_face" ;;
esac
if [ "${check_options}" = true ]; then exit 0; fi
. ./path.sh
. ./cmd.sh
. utils/lock.sh

recipe_name=$(basename "$(dirname "${PWD}")")
data_feats=${dumpdir}/raw
source_train_set=${train_set}
if [ -z "${num_threads}" ]; then
    num_threads=1
    # nproc obeys OMP_NUM_THREADS, which path.sh sets for parallel jobs.
    if [ "${ngpu}" -eq 0 ]; then
        num_threads=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
        num_threads=$(((num_threads + num_processes - 1) / num_processes))
    fi
fi
if [ -n "${speed_perturb_factors}" ]; then
    train_set=${train_set}_sp
fi

drawn_set=${train_set}_drawn${drawn_epochs}
draws=false
if [ "${dynamic_mixing}" = true ] && [ "${drawn_epochs}" -gt 0 ] &&
    [ "${skip_train}" = false ]; then
    draws=true
fi

# Options that every call of the trainer shares.
read -ra counts <<<"${talker_counts}"
read -ra tests <<<"${test_sets}"
read -ra phase1_options <<<"${phase1_args}"
read -ra phase2_options <<<"${phase2_args}"
read -ra inference_options <<<"${inference_args}"
read -ra train_cmd_words <<<"${train_cmd}"
read -ra cuda_cmd_words <<<"${cuda_cmd}"
read -ra decode_cmd_words <<<"${decode_cmd}"
# Stop now for anything that would stop a later stage.
if [ "${num_nodes}" -gt 1 ] && [ "${cuda_cmd_words[0]}" = utils/run.sh ]; then
    die "--num_nodes ${num_nodes}: cmd.sh starts jobs only on this machine; set" \
        "cmd_backend=slurm there"
fi
for n in "${train_cmd_words[0]}" "${cuda_cmd_words[0]}" "${decode_cmd_words[0]}"; do
    if [[ ${n} == */slurm.pl ]] && ! command -v sbatch >/dev/null; then
        die "cmd.sh: there is no sbatch on this machine; set cmd_backend=local there"
    fi
done
task_options=(
    --talker_counts "${counts[@]}"
    --token_type "${token_type}"
    --token_list "${token_dir}/tokens.txt"
    --use_preprocessor true
    --sampling_rate "${fs}"
)
if [ "${token_type}" = bpe ]; then
    task_options+=(--bpemodel "${token_dir}/bpe.model")
elif [ "${token_type}" = hugging_face ]; then
    task_options+=(--bpemodel "${token_dir}/tokenizer.json")
fi
if [ -n "${encoder}" ]; then
    task_options+=(--encoder_conf "model=${models_dir}/encoder")
fi
if [ "${llm}" = encoder ]; then
    task_options+=(--teacher_conf "llm=${models_dir}/encoder")
    llm=
elif [ -n "${llm}" ]; then
    task_options+=(--teacher_conf "llm=${models_dir}/llm")
fi

if [ "${ignore_init_mismatch}" = true ]; then
    task_options+=(--ignore_init_mismatch true)
fi
# All --init_param of a training add up.
pretrained=()
if [ ${#pretrained_models[@]} -gt 0 ]; then
    pretrained=(--init_param "${pretrained_models[@]}")
fi
phase2_init=("${pretrained[@]}")
if [ "${skip_phase1}" = false ]; then
    phase2_init=(--init_param "${phase1_exp}/${phase1_model}:encoder:encoder")
fi

runs() { # runs STAGE: is it requested?
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] || return 1
    [[ " ${skip_stages} " != *" $1 "* ]] || return 1
    case $1 in
        [1-4]) [ "${skip_data_prep}" = false ] ;;
        [56]) [ "${skip_data_prep}" = false ] && [ -z "${download_model}" ] ;;
        [7-9]) [ "${skip_train}" = false ] && [ "${skip_phase1}" = false ] ;;
        10 | 11) [ "${skip_train}" = false ] ;;
        12 | 13) [ "${skip_eval}" = false ] ;;
        14) [ "${skip_packing}" = false ] ;;
        15) [ "${skip_upload_hf}" = false ] ;;
    esac
}
is_hub_id() { # is_hub_id SOURCE: is it a model on the hub, neither a folder nor a package?
    [ -n "$1" ] && [ ! -d "$1" ] && [[ $1 != smollm2 && $1 != whisper_* ]]
}
begin() { # begin STAGE WHAT
    stage_start=${SECONDS}
    # slurm.pl names its jobs by it.
    export MTASR_STAGE=${recipe_name}_stage$1
    log "Stage $1: $2"
}
finish() { # finish STAGE
    log "Stage $1 took $((SECONDS - stage_start)) s"
}
# How the sets store their speech, as FILE,NAME,TYPE for ESPnet; find_speech SET...
# finds it in one call.
declare -A speech_of_set=()
find_speech() {
    local name found folders=() entries
    for name in "$@"; do folders+=("${data_feats}/${name}"); done
    found=$("${python}" -m espnet_mtasr.bin.speech_entries "${folders[@]}")
    mapfile -t entries <<<"${found}"
    [ "${#entries[@]}" -eq $# ] || die "speech_entries printed: ${found}"
    for name in "$@"; do
        speech_of_set[${name}]=${entries[0]}
        entries=("${entries[@]:1}")
    done
}
speech_list() { # speech_list SET [FOLDER]: FOLDER has a part of the set
    echo "${2:-${data_feats}/$1}/${speech_of_set[$1]%%,*}"
}
# Epochs of dynamic mixing, as a training set.
draw_options=(
    --epochs "${drawn_epochs}"
    --source "${data_feats}/${train_set}" --target "${data_feats}/${drawn_set}"
    --config "${phase2_config}" "${task_options[@]}" "${phase2_options[@]}"
)
at_most() { # at_most N FILE...: jobs for the shortest list
    local n=$1 lines file
    shift
    for file in "$@"; do
        [ -f "${file}" ] || die "${file}: no such file; run the previous stages"
        lines=$(wc -l <"${file}")
        if [ "${lines}" -lt "${n}" ]; then n=${lines}; fi
    done
    echo "${n}"
}

# with_progress LABEL MODE [ARGUMENT...] -- COMMAND...: with a progress line on a
# terminal, and a training's warnings anywhere (see show_progress's help); returns the
# command's code.
with_progress() {
    local follow=(--label "$1") follower='' code=0 signal=TERM
    shift
    while [ "$1" != -- ]; do
        follow+=("$1")
        shift
    done
    shift
    if [ -t 2 ] || [ "${follow[2]}" = training ]; then
        "${python}" -m espnet_mtasr.bin.show_progress "${follow[@]}" &
        follower=$!
    fi
    "$@" || code=$?
    if [ -n "${follower}" ]; then
        # A finished line stays; after an error the message comes last. USR1 ends it even
        # before it listens; HUP wouldn't under nohup.
        if [ "${code}" -ne 0 ]; then signal=USR1; fi
        kill -s "${signal}" "${follower}" 2>/dev/null || true
        wait "${follower}" 2>/dev/null || true
    fi
    return "${code}"
}

. utils/training.sh
. utils/decoding.sh

# Check everything that the stages will get in one call: Python takes seconds to start.
decoder=ctc
phase2_has_teacher=false
single_talker_epochs=0
told_talkers=
checks=()
if runs 7 || runs 8; then
    checks+=(--phase1_config "${phase1_config}" --phase1_args="${phase1_args}")
fi
if runs 10 || runs 11; then
    checks+=(--phase2_config "${phase2_config}" --phase2_args="${phase2_args}")
fi
# Checkpoints that a training writes for later stages, and a model that none makes.
if runs 8 && { runs 9 || runs 10 || runs 11; }; then
    checks+=(--phase1_model "${phase1_exp}" "${phase1_model}")
fi
if runs 11 && { runs 12 || runs 13 || runs 14; }; then
    checks+=(--inference_mtasr_model "${phase2_exp}" "${inference_mtasr_model}")
fi
if runs 10 && [ -n "${aligned_start}" ] && [ "${aligned_start}" != curriculum ] &&
    ! { runs 8 && [[ ${aligned_start} == "${phase1_exp}"/* ]]; }; then
    checks+=(--aligned_start "${aligned_start}")
fi
if runs 12 || runs 13; then
    checks+=(--inference_config "${inference_config}" --inference_args="${inference_args}")
fi
# A cluster's GPUs are on its nodes, so the jobs check them.
gpus_here=0
if [ "${decode_cmd_words[0]}" = utils/run.sh ] && [ "${gpu_inference}" = true ] && runs 12; then
    gpus_here=1
fi
if [ "${cuda_cmd_words[0]}" = utils/run.sh ] && [ "${ngpu}" -gt 0 ]; then
    if runs 8 || runs 9 || runs 11; then gpus_here=${ngpu}; fi
    if { runs 7 || runs 10; } && [ "${cache_trunk}" = true ]; then gpus_here=${ngpu}; fi
    if runs 10 && [ -n "${aligned_start}" ]; then gpus_here=${ngpu}; fi
fi
if [ "${gpus_here}" -gt 0 ]; then checks+=(--ngpu "${gpus_here}"); fi
if [ ${#checks[@]} -gt 0 ]; then
    log "Checking the configurations"
    found=$("${python}" -m espnet_mtasr.bin.check_config "${checks[@]}" \
        --cache_trunk "${cache_trunk}" --draws "${draws}" --task_options "${task_options[@]}")
    # A user's module may also print lines.
    decoder=$(sed -n 's/^decoder //p' <<<"${found}")
    phase2_has_teacher=$(sed -n 's/^phase2_has_teacher //p' <<<"${found}")
    [[ ${decoder} =~ ^(ctc|llm)$ && ${phase2_has_teacher} =~ ^(true|false)$ ]] ||
        die "check_config printed: ${found}"
    single_talker_epochs=$(sed -n 's/^single_talker_epochs //p' <<<"${found}")
    told_talkers=$(sed -n 's/^num_talkers //p' <<<"${found}")
    if grep -qx 'ngram true' <<<"${found}"; then use_ngram=true; fi
fi
if [ "${aligned_start}" = curriculum ] && runs 11 && [ "${single_talker_epochs}" -eq 0 ]; then
    die "--aligned_start curriculum: ${phase2_config} has no curriculum that begins with" \
        "only 1 talker; give a model of 1 talker, or omit it"
fi
if [ "${decoder}" = llm ] && [ "${skip_phase1}" = true ] && [ -z "${download_model}" ]; then
    die "--inference_config ${inference_config}: its decoder is phase 1's language" \
        "model; omit --skip_phase1, or choose another configuration"
fi
if [ "${skip_phase1}" = true ] && [ "${phase2_has_teacher}" = true ]; then
    die "--skip_phase1 true: phase 2 has a teacher, which phase 1 must adapt first; add" \
        "--phase2_args '--model_conf ctc_weight=1.0'"
fi

if runs 14 && [ "${pack_teacher}" = true ] && [ "${phase2_has_teacher}" = false ] &&
    { runs 10 || runs 11; }; then
    die "--pack_teacher true: phase 2 has no teacher; omit it, or give ${phase2_config} a" \
        "teacher and a ctc_weight below 1"
fi
if runs 14 && runs 15 && [ "${hf_without_results}" = false ] &&
    { ! runs 13 || [ "${text_normalizer}" != none ]; } &&
    [ ! -f "${phase2_exp}/decode_$(stem_of "${inference_mtasr_model}")/results.json" ]; then
    die "--hf_repo ${hf_repo}: ${inference_mtasr_model} was not scored; run stages 12 and" \
        "13 too, without --text_normalizer, or add --hf_without_results true"
fi
if runs 13 && [ "${text_normalizer}" != none ]; then
    "${python}" -c 'import whisper_normalizer' 2>/dev/null ||
        die "--text_normalizer ${text_normalizer}: needs a package; run: ${python} -m pip" \
            "install whisper-normalizer"
fi

model_options=(
    --output_dir "${models_dir}"
    --encoder "${encoder}" --encoder_revision "${encoder_revision}"
    --llm "${llm}" --llm_revision "${llm_revision}"
)
if runs 6 && { is_hub_id "${encoder}" || is_hub_id "${llm}"; }; then
    log "Checking that the pretrained models are available"
    "${python}" -m espnet_mtasr.bin.get_models "${model_options[@]}" --check_access true
fi

upload_options=(
    --packed_model "${packed_model}" --hf_repo "${hf_repo}" --hf_private "${hf_private}"
    --hf_without_results "${hf_without_results}" --dry_run "${dry_run}"
)
if runs 15 && [ "${dry_run}" = false ]; then
    log "Checking that ${hf_repo} can be written to"
    "${python}" -m espnet_mtasr.bin.mtasr_upload "${upload_options[@]}" --check_access true
fi

test_exp=${phase2_exp}
test_model=${phase2_exp}/${inference_mtasr_model}
if [ "${decoder}" = llm ]; then
    test_exp=${phase1_exp}
    test_model=${phase1_exp}/${phase1_model}
fi
test_config=${test_exp}/config.yaml
model_in_words=${test_model}
if [ -n "${download_model}" ] && { runs 12 || runs 13; }; then
    log "Getting ${download_model}"
    found=$("${python}" -m espnet_mtasr.bin.mtasr_download --model "${download_model}" \
        --decoder "${decoder}")
    { read -r name && read -r test_config && read -r test_model; } <<<"${found}"
    test_exp=${expdir}/${name}
    model_in_words="${download_model} (${test_model##*/})"
    [ ! -e "${test_exp}/config.yaml" ] ||
        die "--download_model ${download_model}: ${test_exp} contains a training, whose" \
            "results would be lost; give another --expdir"
    log "Skipping training: decoding ${test_sets} with ${test_model} into ${test_exp}"
fi
ngram_file=${expdir}/ngram/ngram.safetensors
if [ "${use_ngram}" = true ] && runs 12 && ! runs 5 && [ -z "${download_model}" ] &&
    [ ! -f "${ngram_file}" ] && [ ! -f "${test_exp}/ngram.safetensors" ]; then
    die "${inference_config} and --use_ngram true need ${ngram_file}; run stage 5 with" \
        "--use_ngram true"
fi
# Each decoding has its own folder and results. The default decoding's results are the
# training's, and stage 14 packs them with the model.
decoding="${inference_config}${inference_args:+ ${inference_args}}"
options_tag=$(sed -E 's/ *--/_/g; s/[ =]+//g; s/[^A-Za-z0-9._-]/_/g' <<<"${inference_args}")
if [ "${decoder}" = ctc ] && [ "${rescore_routing}" = false ]; then
    decoding+=" --rescore_routing false"
    options_tag+=_rescore_routingfalse
fi
default_tag=decode
if [ "${decoder}" = llm ] && [ -z "${download_model}" ]; then default_tag=decode_llm; fi
is_other() { [ -f "$1" ] && ! [ "${inference_config}" -ef "$1" ]; }
if { runs 12 || runs 13; } && [ -z "${inference_tag}" ] &&
    is_other "conf/${inference_config##*/}"; then
    die "--inference_config ${inference_config}: has the name of the recipe's" \
        "conf/${inference_config##*/}; name its results with --inference_tag"
fi
if [ "${inference_tag}" = "${default_tag}" ] &&
    { [ -n "${options_tag}" ] || is_other "conf/${default_tag}.yaml"; }; then
    die "--inference_tag ${inference_tag}: is the name of the decoding by" \
        "conf/${default_tag}.yaml without options; give another"
fi
inference_tag=${inference_tag:-$(basename "${inference_config}" .yaml)${options_tag}}
decode_dir=$(stem_of "${test_model}")
decode_dir=${test_exp}/${inference_tag}_${decode_dir}
[ ${#inference_tag} -le 150 ] ||
    die "--inference_args ${inference_args}: give too long a folder name; choose one" \
        "with --inference_tag"
# The same texts, normalized, have scores of their own.
score_dir=${decode_dir}
if [ "${text_normalizer}" != none ]; then score_dir+=_${text_normalizer}; fi
default_model=${test_model}
if [ -z "${download_model}" ]; then
    default_model=valid.loss_ctc.ave
    if [ "${decoder}" = llm ]; then default_model=valid.loss_sot.ave; fi
fi
default_decoding=${default_tag}_$(stem_of "${default_model}")

# Before any work: no other run may write to this one's output or change its input.
data_mode=shared
folders=()
for n in 1 2 3 4 5 6; do
    if runs ${n}; then data_mode=exclusive; fi
done
if runs 7; then folders+=("${phase1_stats}"); fi
if runs 8 || runs 9; then folders+=("${phase1_exp}"); fi
if runs 10; then folders+=("${phase2_stats}"); fi
if runs 11; then folders+=("${phase2_exp}"); fi
if runs 12 || runs 13; then folders+=("${decode_dir}"); fi
hold "${data_mode}" data "${dumpdir}"
if [ "${data_mode}" = exclusive ]; then no_jobs_left "${expdir}" data/local/log; fi
hold exclusive "${folders[@]}"
if { runs 9 || runs 11 || { runs 10 && [ "${cache_trunk}" = true ]; }; } && ! runs 8 &&
    [ "${skip_phase1}" = false ] && [ ! -f "${phase1_exp}/${phase1_model}" ]; then
    die "${phase1_exp}/${phase1_model}: no such file; run stage 8 first"
fi
# Commands that this script calls end with it.
export MTASR_CALLER=$$
end_with_me=()
if setpriv --pdeathsig TERM true 2>/dev/null; then end_with_me=(setpriv --pdeathsig TERM); fi

if runs 1; then
    begin 1 "data preparation: local/data.sh ${local_data_opts}"
    read -ra data_options <<<"${local_data_opts}"
    if [ "${on_the_fly}" = true ]; then data_options+=(--on_the_fly true); fi
    "${end_with_me[@]}" local/data.sh "${data_options[@]}"
    finish 1
fi

if runs 2; then
    begin 2 "speed perturbation: ${speed_perturb_factors:-none}"
    if [ -n "${speed_perturb_factors}" ]; then
        utils/data_job.sh "${nj}" data/local/log/perturb.log \
            "${python}" -m espnet_mtasr.bin.prepare_data --fs "${fs}" --nj "${nj}" \
            --on_the_fly "${on_the_fly}" perturb \
            "data/${source_train_set}" "data/${train_set}" \
            --factors "${speed_perturb_factors}" --max_unreadable "${max_unreadable}"
    fi
    finish 2
fi

if runs 3; then
    begin 3 "format data/ to ${data_feats}/org"
    utils/data_job.sh "${nj}" data/local/log/format.log \
        "${python}" -m espnet_mtasr.bin.prepare_data --fs "${fs}" --nj "${nj}" \
        --on_the_fly "${on_the_fly}" format \
        --source data --target "${data_feats}/org" --train_sets "${train_set}" \
        --eval_sets "${valid_set} ${test_sets}" --audio_format "${audio_format}" \
        --talker_counts "${talker_counts}" --max_unreadable "${max_unreadable}"
    finish 3
fi

if runs 4; then
    begin 4 "remove training mixtures outside ${min_wav_duration} - ${max_wav_duration} s"
    utils/data_job.sh 1 data/local/log/filter.log \
        "${python}" -m espnet_mtasr.bin.prepare_data --fs "${fs}" filter \
        --source "${data_feats}/org" --target "${data_feats}" \
        --train_sets "${train_set}" --eval_sets "${valid_set} ${test_sets}" \
        --min_seconds "${min_wav_duration}" --max_seconds "${max_wav_duration}"
    if [ "${draws}" = true ]; then
        utils/data_job.sh 1 data/local/log/draw_epochs.log \
            "${python}" -m espnet_mtasr.bin.draw_epochs "${draw_options[@]}"
    fi
    finish 4
fi

if runs 5; then
    begin 5 "tokens: ${token_dir}"
    token_options=()
    if [ "${tokens_are_there}" = true ]; then
        token_options=(--check true)
    elif [ "${token_type}" = hugging_face ]; then
        "${python}" -m espnet_mtasr.bin.get_models "${model_options[@]}"
        token_options=(--llm "${llm_dir}")
    fi
    "${python}" -m espnet_mtasr.bin.make_token_list --output_dir "${token_dir}" \
        --text "${bpe_train_text:-${data_feats}/${train_set}/text}" \
        --token_type "${token_type}" \
        --nbpe "${nbpe}" --bpemode "${bpemode}" "${token_options[@]}"
    if [ "${use_ngram}" = true ]; then train_ngram; fi
    finish 5
fi

if runs 6; then
    begin 6 "pretrained models: ${encoder:-no encoder}, ${llm:-no LLM}"
    "${python}" -m espnet_mtasr.bin.get_models "${model_options[@]}"
    finish 6
fi

hold shared data "${dumpdir}"
known_outputs=()
if [ "${cache_trunk}" = true ] && [ "${skip_phase1}" = false ]; then
    known_outputs=(--known_stats_dir "${phase1_stats}")
    if runs 10 && ! runs 7 && [ -d "${phase1_stats}" ]; then hold shared "${phase1_stats}"; fi
fi
if [ "${draws}" = true ]; then
    if ! runs 4 && { runs 7 || runs 10; }; then
        "${python}" -m espnet_mtasr.bin.draw_epochs --check true "${draw_options[@]}"
    fi
    # From here on it is a training set like any other.
    train_set=${drawn_set}
    dynamic_mixing=false
fi
speech_sets=()
if runs 7 || runs 8 || runs 10 || runs 11; then
    speech_sets+=("${train_set}" "${valid_set}")
fi
if runs 12; then speech_sets+=("${tests[@]}"); fi
if [ ${#speech_sets[@]} -gt 0 ]; then find_speech "${speech_sets[@]}"; fi

if runs 7; then
    begin 7 "statistics of phase 1: ${phase1_stats}"
    collect_stats "${phase1_config}" "${phase1_stats}" "${phase1_options[@]}"
    if [ "${cache_trunk}" = true ]; then
        cache_outputs "${phase1_config}" "${phase1_stats}" "${pretrained[@]}" \
            "${phase1_options[@]}"
    fi
    finish 7
fi

if runs 8; then
    begin 8 "phase 1, adapt the teacher: ${phase1_exp}"
    train "${phase1_config}" "${phase1_stats}" "${phase1_exp}" "${pretrained[@]}" \
        "${phase1_options[@]}"
    finish 8
fi

if runs 9; then
    begin 9 "does the teacher use the audio? SOT perplexity on ${valid_set}"
    with_progress "Perplexity" count --pattern ': ([0-9]+) mixtures$' \
        --total "$(wc -l <"${data_feats}/${valid_set}/text")" \
        "${phase1_exp}/perplexity.log" -- \
        "${cuda_cmd_words[@]}" --gpu "$((ngpu > 0 ? 1 : 0))" \
        --num_threads "${num_threads}" "${phase1_exp}/perplexity.log" \
        "${python}" -m espnet_mtasr.bin.mtasr_perplexity \
        --mtasr_train_config "${phase1_exp}/config.yaml" \
        --mtasr_model_file "${phase1_exp}/${phase1_model}" \
        --data_dir "${data_feats}/${valid_set}" --ngpu "$((ngpu > 0 ? 1 : 0))" \
        --output "${phase1_exp}/perplexity_${valid_set}.json" "${trust_options[@]}"
    cat "${phase1_exp}/perplexity_${valid_set}.md"
    finish 9
fi

if runs 10; then
    begin 10 "statistics of phase 2: ${phase2_stats}"
    collect_stats "${phase2_config}" "${phase2_stats}" "${phase2_options[@]}"
    if [ "${cache_trunk}" = true ]; then
        cache_outputs "${phase2_config}" "${phase2_stats}" "${phase2_init[@]}" \
            "${phase2_options[@]}" "${known_outputs[@]}"
    fi
    rm -f "${phase2_stats}/source_times.jsonl"
    if [ -n "${aligned_start}" ] && [ "${aligned_start}" != curriculum ]; then
        trusting=()
        if [ "${trust_remote_code}" = true ]; then trusting=(--trust_remote_code); fi
        align_sources "${aligned_start}" "${phase2_stats}" \
            "${phase2_stats}/source_times.jsonl" \
            "${phase2_stats}/logdir/align_sources.log" "${trusting[@]}"
    fi
    finish 10
fi

if runs 11; then
    begin 11 "phase 2, separator, serialized CTC and talker-count head: ${phase2_exp}"
    init=("${phase2_init[@]}")
    [ "${skip_phase1}" = true ] || [ -f "${phase1_exp}/${phase1_model}" ] ||
        die "${phase1_exp}/${phase1_model}: no such file; run stage 8 first"
    # With ctc_weight 1 there is no teacher to start from.
    if [ "${skip_phase1}" = false ] && [ "${phase2_has_teacher}" = true ]; then
        init+=("${phase1_exp}/${phase1_model}:teacher:teacher")
    fi
    if [ "${aligned_start}" = curriculum ]; then
        times=${phase2_exp}/source_times.jsonl
        init+=(--preprocessor_conf "source_times=${times}")
        if [ ! -f "${times}" ]; then
            log "First stage of the curriculum, to epoch ${single_talker_epochs}"
            train "${phase2_config}" "${phase2_stats}" "${phase2_exp}" \
                "${init[@]}" "${phase2_options[@]}" --max_epoch "${single_talker_epochs}"
            align_sources "${phase2_exp}/latest.pth" "${phase2_stats}" "${times}" \
                "${phase2_exp}/align_sources.log" --trust_remote_code
        fi
    elif [ -n "${aligned_start}" ]; then
        init+=(--preprocessor_conf "source_times=${phase2_stats}/source_times.jsonl")
    fi
    train "${phase2_config}" "${phase2_stats}" "${phase2_exp}" \
        "${init[@]}" "${phase2_options[@]}"
    finish 11
fi

if runs 12; then
    begin 12 "decode: ${decode_dir}"
    decode
    finish 12
fi

if runs 13; then
    begin 13 "score: ${score_dir}/RESULTS.md, and all decodings: ${test_exp}/RESULTS.md"
    score
    finish 13
fi

if runs 14; then
    begin 14 "pack: ${packed_model}"
    pack_options=(--mixtures "$(mixtures_in_words)")
    if [ -n "${model_card}" ]; then pack_options+=(--model_card "${model_card}"); fi
    if [ -f "${models_dir}/models.json" ]; then
        pack_options+=(--pretrained "${models_dir}/models.json")
    fi
    "${python}" -m espnet_mtasr.bin.mtasr_pack --outpath "${packed_model}" \
        --mtasr_train_config "${phase2_exp}/config.yaml" \
        --mtasr_model_file "${phase2_exp}/${inference_mtasr_model}" \
        --dtype "${packed_dtype}" --pack_teacher "${pack_teacher}" \
        "${trust_options[@]}" "${pack_options[@]}"
    finish 14
fi

if runs 15; then
    begin 15 "upload to ${hf_repo}"
    "${python}" -m espnet_mtasr.bin.mtasr_upload "${upload_options[@]}"
    finish 15
fi

log "Stages ${stage} to ${stop_stage} took ${SECONDS} s"
