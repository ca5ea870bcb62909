#!/usr/bin/env bash
# Statistics, alignments, caches and trainings, for stages 7, 8, 10 and 11 of mtasr.sh.
# mtasr.sh sources it; its options and lists are read here.
# shellcheck disable=SC2154 # they are mtasr.sh's

# Lengths of audio and text of the training and validation set, and the lists to train
# with: collect_stats CONFIG STATS_DIR [OPTION...] Lengths are stored in EXPDIR under
# the tokens' name and a hash of what they depend on.
collect_stats() {
    local config=$1 stats=$2 key kept n
    local train_dir=${data_feats}/${train_set} valid_dir=${data_feats}/${valid_set}
    shift 2
    local data=(
        --config "${config}"
        --train_data_path_and_name_and_type "${train_dir}/${speech_of_set[${train_set}]}"
        --train_data_path_and_name_and_type "${train_dir}/text,text,text"
        --valid_data_path_and_name_and_type "${valid_dir}/${speech_of_set[${valid_set}]}"
        --valid_data_path_and_name_and_type "${valid_dir}/text,text,text"
    )
    mkdir -p "${stats}/logdir"
    key=$("${python}" -m espnet_mtasr.bin.statistics_key "${data[@]}" \
        "${task_options[@]}" "$@" | sed -n 's/^statistics_key //p')
    kept=${expdir}/mtasr_stats_${token_dir##*/}_${key}
    if [ -n "${key}" ] && [ -d "${kept}" ]; then
        log "Using existing lengths of the same speech, texts and tokens: ${kept}"
        for n in train valid; do
            rm -rf "${stats:?}/${n}"
            cp -r "${kept}/${n}" "${stats}"
        done
    else
        collect_lengths "${stats}" "${data[@]}" "${task_options[@]}" "$@"
        if [ -n "${key}" ]; then
            n=${stats}/kept
            mkdir "${n}"
            cp -r "${stats}/train" "${stats}/valid" "${n}"
            # Another run may have been faster.
            mv -T "${n}" "${kept}" 2>/dev/null || rm -rf "${n}"
        fi
    fi
    "${python}" -m espnet_mtasr.bin.check_alignable --config "${config}" \
        --stats_dir "${stats}" --train_dir "${train_dir}" --valid_dir "${valid_dir}" \
        --max_unalignable "${max_unalignable}" "${task_options[@]}" "$@"
}

# collect_lengths STATS_DIR OPTION...: by the trainer, in parallel
collect_lengths() {
    local stats=$1 logdir=$1/logdir jobs n train_list valid_list
    train_list=$(speech_list "${train_set}")
    valid_list=$(speech_list "${valid_set}")
    shift
    jobs=$(at_most "${nj}" "${train_list}" "${valid_list}")
    local train_parts=() valid_parts=() stats_dirs=() written=()
    for ((n = 1; n <= jobs; n++)); do
        train_parts+=("${logdir}/train.${n}.scp")
        valid_parts+=("${logdir}/valid.${n}.scp")
        stats_dirs+=(--input_dir "${logdir}/stats.${n}")
        written+=("${logdir}/stats.${n}"/{train,valid}/speech_shape)
    done
    utils/split_scp.sh "${train_list}" "${train_parts[@]}"
    utils/split_scp.sh "${valid_list}" "${valid_parts[@]}"
    with_progress "Statistics" count \
        --total "$(cat "${train_parts[@]}" "${valid_parts[@]}" | wc -l)" \
        "${written[@]}" -- \
        "${train_cmd_words[@]}" JOB=1:"${jobs}" "${logdir}/stats.JOB.log" \
        "${python}" -m espnet_mtasr.bin.mtasr_train \
        --collect_stats true --ngpu 0 --num_workers 0 "$@" \
        --train_shape_file "${logdir}/train.JOB.scp" \
        --valid_shape_file "${logdir}/valid.JOB.scp" \
        --output_dir "${logdir}/stats.JOB"
    "${python}" -m espnet2.bin.aggregate_stats_dirs --skip_sum_stats \
        "${stats_dirs[@]}" --output_dir "${stats}"
}

# The outputs of the frozen trunk for these lists, kept in DUMPDIR/trunk by hashes of
# trunk and recording, and lists of them: cache_outputs CONFIG STATS_DIR [OPTION...]
cache_outputs() {
    local config=$1 stats=$2 gpus=0 jobs words=("${train_cmd_words[@]}")
    shift 2
    jobs=$(at_most "${nj}" "${stats}/lists/train/text")
    if [ "${ngpu}" -gt 0 ]; then
        gpus=1
        jobs=${ngpu}
        words=("${cuda_cmd_words[@]}")
    fi
    local command=(
        "${python}" -m espnet_mtasr.bin.cache_trunk --config "${config}"
        --stats_dir "${stats}" --cache_dir "${dumpdir}/trunk"
        --cache_dtype "${cache_dtype}" --num_jobs "${jobs}"
    )
    log "Outputs of the trunk; progress: tail -f ${stats}/logdir/cache_trunk.1.log"
    local logs=() n
    for ((n = 1; n <= jobs; n++)); do logs+=("${stats}/logdir/cache_trunk.${n}.log"); done
    with_progress "Trunk" count --pattern ', part ([0-9]+) of ([0-9]+): done$' \
        "${logs[@]}" -- \
        "${words[@]}" --gpu "${gpus}" JOB=1:"${jobs}" "${stats}/logdir/cache_trunk.JOB.log" \
        "${command[@]}" --job JOB --ngpu "${gpus}" "${task_options[@]}" "$@"
    "${command[@]}" --join true
}

# Aligns the words of the training's recordings: align_sources MODEL STATS_DIR FILE LOG
# [OPTION...]
align_sources() {
    local model=$1 stats=$2 file=$3 log=$4 gpus=0
    shift 4
    if [ "${ngpu}" -gt 0 ]; then gpus=1; fi
    [ -f "${stats}/lists/train/utt2mixture" ] ||
        die "data/${train_set} has no utt2mixture (what its mixtures are made of), which" \
            "--aligned_start needs; omit it"
    log "Aligning the recordings of ${train_set}; progress: tail -f ${log}"
    with_progress "Aligning" count --pattern 'batches: ([0-9]+) of ([0-9]+)$' "${log}" -- \
        "${cuda_cmd_words[@]}" --gpu "${gpus}" --num_threads "${num_threads}" "${log}" \
        "${python}" -m espnet_mtasr.bin.align_sources --model "${model}" \
        --data_dir "${stats}/lists/train" --output "${file}" --ngpu "${gpus}" "$@"
    log "$(grep ' recordings aligned' "${log}" | tail -n 1)"
}

# rotate NAME.log: an earlier run's log becomes NAME.1.log, that NAME.2.log, and so on,
# as espnet2.bin.launch does for several GPUs.
rotate() {
    local stem=${1%.log} n=0
    [ -e "$1" ] || return 0
    while [ -e "${stem}.$((n + 1)).log" ]; do n=$((n + 1)); done
    for (( ; n > 0; n--)); do mv "${stem}.${n}.log" "${stem}.$((n + 1)).log"; done
    mv "$1" "${stem}.1.log"
}

# train CONFIG STATS_DIR EXP_DIR [OPTION...]: resumes where it was stopped.
train() {
    local config=$1 stats=$2 exp=$3 file
    local speech valid_speech
    shift 3
    no_jobs_left "${exp}/q/train.id"
    for file in "${token_dir}/tokens.txt" "${stats}/lists/train/text" \
        "$(speech_list "${train_set}" "${stats}/lists/train")" \
        "$(speech_list "${valid_set}" "${stats}/lists/valid")"; do
        [ -f "${file}" ] || die "${file}: no such file; run the previous stages"
    done
    speech=${speech_of_set[${train_set}]}
    valid_speech=${speech_of_set[${valid_set}]}
    if [ "${dynamic_mixing}" = true ]; then
        [ -f "${stats}/lists/train/utt2mixture" ] ||
            die "data/${train_set} has no utt2mixture (what its mixtures are made of)," \
                "which dynamic mixing needs; add --dynamic_mixing false"
        speech=utt2mixture,speech,json
    fi
    if [ "${cache_trunk}" = true ]; then
        [ -f "${stats}/lists/train/trunk.scp" ] ||
            die "${stats}/lists/train/trunk.scp: no such file; run the stage before it" \
                "(7 or 10) with --cache_trunk true"
        speech=trunk.scp,speech,text
        valid_speech=${speech}
    fi
    local launcher=("${python}")
    if [ "${num_processes}" -gt 1 ]; then
        launcher+=(-m torch.distributed.run --standalone --nproc_per_node "${num_processes}")
        set -- --dist_backend gloo "$@"
    fi
    local options=(
        --config "${config}"
        --train_data_path_and_name_and_type "${stats}/lists/train/${speech}"
        --train_data_path_and_name_and_type "${stats}/lists/train/text,text,text"
        --train_shape_file "${stats}/lists/train/speech_shape"
        --train_shape_file "${stats}/lists/train/text_shape"
        --valid_data_path_and_name_and_type "${stats}/lists/valid/${valid_speech}"
        --valid_data_path_and_name_and_type "${stats}/lists/valid/text,text,text"
        --valid_shape_file "${stats}/lists/valid/speech_shape"
        --valid_shape_file "${stats}/lists/valid/text_shape"
        --resume true --output_dir "${exp}" "${task_options[@]}" "$@"
    )
    if [ "${resume_anyway}" = true ]; then options+=(--resume_anyway true); fi
    if [ -e "${exp}/checkpoint.pth" ]; then
        "${python}" -m espnet_mtasr.bin.check_resume "${options[@]}"
    fi
    local command=("${launcher[@]}" -m espnet_mtasr.bin.mtasr_train "${options[@]}")
    mkdir -p "${exp}"
    # The model card names the commands that trained the model.
    grep -qxF -e "${command_line}" "${exp}/.commands" 2>/dev/null ||
        echo "${command_line}" >>"${exp}/.commands"
    log "Training; progress: tail -f ${exp}/train.log"
    # Put tensors in huge pages, if glibc (from 2.35) and the kernel support it: steps
    # on a CPU are 7 % shorter.
    local -x GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
    # With several processes espnet2.bin.launch doesn't pass --num_threads on.
    local -x OMP_NUM_THREADS=${num_threads}
    # After some epochs of TensorBoard's events protobuf's C extension calls malloc_trim,
    # which splits those pages: from then on steps would be 15 % longer.
    local -x PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=${PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION:-python}
    if [ "${ngpu}" -le 1 ] && [ "${num_nodes}" -le 1 ]; then
        rotate "${exp}/train.log"
        with_progress "Training" training "${exp}/train.log" -- \
            "${cuda_cmd_words[@]}" --gpu "${ngpu}" --num_threads "${num_threads}" \
            "${exp}/train.log" "${command[@]}" --ngpu "${ngpu}"
    else
        with_progress "Training" training "${exp}/train.log" -- \
            "${end_with_me[@]}" "${python}" -m espnet2.bin.launch --cmd "${cuda_cmd}" --log "${exp}/train.log" \
            --ngpu "${ngpu}" --num_nodes "${num_nodes}" \
            --init_file_prefix "${exp}/.dist_init_" \
            --multiprocessing_distributed true -- "${command[@]}"
    fi
    grep -h -e 'were not finite' -e 'writes nothing' -e 'out of checkpoint.pth' -e 'out of the average' \
        "${exp}/train.log" | sed 's/^.*WARNING: /warning: /' | tail -n 5 >&2 || true
    # A missing picture must not fail the training.
    "${python}" -m espnet_mtasr.bin.plot_learning_curve --exp_dir "${exp}" ||
        log "warning: no ${exp}/learning_curve.png, see the error above"
}
