#!/usr/bin/env bash
# Decoding and scoring: stages 12 and 13 of mtasr.sh, which sources it; its options and
# lists are read here.
# shellcheck disable=SC2154 # they are mtasr.sh's

# The n-gram for conf/decode_ngram.yaml. Sentences of dev and test sets are left out.
train_ngram() {
    local name texts=() held_out=() options=()
    read -ra texts <<<"${lm_train_text}"
    for name in "${valid_set}" "${tests[@]}"; do
        held_out+=("${data_feats}/${name}/text")
    done
    case ${token_type} in
        bpe) options+=(--bpemodel "${token_dir}/bpe.model") ;;
        hugging_face) options+=(--bpemodel "${token_dir}/tokenizer.json") ;;
    esac
    if [ -n "${ngram_num}" ]; then options+=(--ngram_num "${ngram_num}"); fi
    if [ -n "${max_ngrams}" ]; then options+=(--max_ngrams "${max_ngrams}"); fi
    "${python}" -m espnet_mtasr.bin.train_ngram --output "${ngram_file}" \
        --transcripts "${data_feats}/${train_set}/text" --text "${texts[@]}" \
        --held_out "${held_out[@]}" --token_list "${token_dir}/tokens.txt" \
        --token_type "${token_type}" "${options[@]}"
}

# The test sets, with the predicted talker count and, into DECODE_DIR_oracle, with the
# given one.
decode() {
    local dset logdir oracle_dir speech list jobs keys logs n f files gpus=0 mark fitting ngram
    if [ "${gpu_inference}" = true ]; then gpus=1; fi
    fitting=(--ngpu "${gpus}" --mtasr_train_config "${test_config}"
        --mtasr_model_file "${test_model}" --data_dir "${data_feats}/${valid_set}"
        "${trust_options[@]}")
    ngram=$(dirname "${test_model}")/ngram.safetensors
    if [ "${use_ngram}" = true ] && [ "${decoder}" = ctc ] && [ -f "${ngram_file}" ] &&
        [ -z "${download_model}" ] &&
        { [ ! "${ngram}" -nt "${test_model}" ] || [ ! "${ngram}" -nt "${ngram_file}" ]; }; then
        log "Fitting on ${valid_set} how the n-gram is used: ${test_exp}/ngram.log"
        with_progress "N-gram" count --pattern 'talker counts: ([0-9]+) of ([0-9]+)$' \
            "${test_exp}/ngram.log" -- \
            "${decode_cmd_words[@]}" --gpu "${gpus}" "${test_exp}/ngram.log" \
            "${python}" -m espnet_mtasr.bin.fit_ngram "${fitting[@]}" \
            --ngram_file "${ngram_file}"
    fi
    if [ "${rescore_routing}" = true ] && [ "${decoder}" = ctc ] &&
        [ -z "${download_model}" ] &&
        { [ ! "${test_exp}/routing.json" -nt "${test_model}" ] ||
            [ "${ngram}" -nt "${test_exp}/routing.json" ]; }; then
        log "Fitting on ${valid_set} how to pick a branch: ${test_exp}/routing.log"
        with_progress "Routing" count --pattern 'batches: ([0-9]+) of ([0-9]+)$' \
            "${test_exp}/routing.log" -- \
            "${decode_cmd_words[@]}" --gpu "${gpus}" "${test_exp}/routing.log" \
            "${python}" -m espnet_mtasr.bin.fit_routing "${fitting[@]}"
    fi
    # Remove old texts, or stage 13 would score them after an interrupted run.
    for dset in "${tests[@]}"; do
        rm -f "${decode_dir}"{,_oracle}/"${dset}"/{text,utt2num_spk,posteriors,rtf.json,decoded_by.json}
    done
    # Decodings with the same hashes may share a table.
    mark=$(printf '{"model_sha256": "%s", "options_sha256": "%s"}' \
        "$(cat "${test_model}" 2>/dev/null | sha256sum | cut -d' ' -f1)" \
        "$({ sed 's/ *#.*//; /^$/d' "${inference_config}" &&
            echo "${inference_args} ${rescore_routing}" &&
            if [ "${use_ngram}" = true ] && [ -f "${ngram}" ]; then cat "${ngram}"; fi; } |
            sha256sum | cut -d' ' -f1)")
    for dset in "${tests[@]}"; do
        logdir=${decode_dir}/${dset}/logdir
        oracle_dir=${decode_dir}_oracle/${dset}
        mkdir -p "${logdir}" "${oracle_dir}"
        # Files left by a run with more jobs would be mistaken for this run's.
        rm -rf "${logdir}"/output.* "${logdir}"/oracle.* "${logdir}"/keys.*
        speech=${speech_of_set[${dset}]}
        list=$(speech_list "${dset}")
        jobs=$(at_most "${inference_nj}" "${list}")
        keys=()
        logs=()
        for ((n = 1; n <= jobs; n++)); do
            keys+=("${logdir}/keys.${n}.scp")
            logs+=("${logdir}/mtasr_inference.${n}.log")
        done
        utils/split_scp.sh "${list}" "${keys[@]}"
        with_progress "${dset}" count --pattern 'best hypo: ' \
            --total "$(wc -l <"${list}")" "${logs[@]}" -- \
            "${decode_cmd_words[@]}" --gpu "${gpus}" JOB=1:"${jobs}" \
            "${logdir}/mtasr_inference.JOB.log" \
            "${python}" -m espnet_mtasr.bin.mtasr_inference --ngpu "${gpus}" \
            --config "${inference_config}" --fs "${fs}" \
            --data_path_and_name_and_type "${data_feats}/${dset}/${speech}" \
            --key_file "${logdir}/keys.JOB.scp" \
            --utt2num_spk "${data_feats}/${dset}/utt2num_spk" \
            --mtasr_train_config "${test_config}" --mtasr_model_file "${test_model}" \
            --rescore_routing "${rescore_routing}" \
            --store_posteriors "${store_posteriors}" \
            --output_dir "${logdir}/output.JOB" --oracle_output_dir "${logdir}/oracle.JOB" \
            "${trust_options[@]}" "${inference_options[@]}"
        # Decoder llm has none.
        files=("${logdir}"/output.*/1best_recog/posteriors)
        if [ -e "${files[0]}" ]; then
            sort "${files[@]}" >"${decode_dir}/${dset}/posteriors"
        fi
        for f in text utt2num_spk; do
            sort "${logdir}"/output.*/1best_recog/${f} >"${decode_dir}/${dset}/${f}"
        done
        sort "${logdir}"/oracle.*/1best_recog/text >"${oracle_dir}/text"
        rm -f "${oracle_dir}/utt2num_spk"
        if [ "${decoder}" = llm ]; then
            # It may write a different number of talkers than given.
            sort "${logdir}"/oracle.*/1best_recog/utt2num_spk >"${oracle_dir}/utt2num_spk"
        fi
        awk '{decoding += $1; audio += $2; if ($3 > batch) batch = $3}
             END {printf "{\"rtf\": %.5f, \"batch_size\": %d}\n", decoding / audio, batch}' \
            "${logdir}"/output.*/1best_recog/rtf >"${decode_dir}/${dset}/rtf.json"
        echo "${mark}" >"${decode_dir}/${dset}/decoded_by.json"
        log "${dset}: $(wc -l <"${decode_dir}/${dset}/text") mixtures, $(cat "${decode_dir}/${dset}/rtf.json")"
    done
}

mixtures_in_words() {
    echo "${mixtures:-$(cat data/mixtures.txt 2>/dev/null || echo "${test_sets}")}"
}

# Writes RESULTS.md, RESULTS.html and so on into the scores' folder, and those of all
# decodings into the training's folder.
score() {
    local model=${model_in_words} name folders=() told=() curves=()
    if [ -n "${told_talkers}" ]; then told=(--num_talkers "${told_talkers}"); fi
    if [ "${decoder}" = llm ]; then
        model+=", decoded by its language model (talker count: as many as it writes; a"
        model+=" given count picks the branch that it reads)"
    fi
    if [ -z "${download_model}" ]; then
        if [ "${skip_phase1}" = false ] && [ "${test_exp}" != "${phase1_exp}" ]; then
            curves+=("${phase1_exp}/learning_curve.json")
        fi
        curves=(--curves "${curves[@]}" "${test_exp}/learning_curve.json")
    fi
    for name in "${tests[@]}"; do folders+=("${data_feats}/${name}"); done
    utils/data_job.sh "${nj}" "${decode_dir}/conditions.log" \
        "${python}" -m espnet_mtasr.bin.measure_conditions --nj "${nj}" "${folders[@]}"
    "${python}" -m espnet_mtasr.bin.mtasr_score --sets "${test_sets}" \
        --data_dir "${data_feats}" --decode_dir "${decode_dir}" \
        --oracle_decode_dir "${decode_dir}_oracle" --output_dir "${score_dir}" \
        --collect_dir "${test_exp}" --default_decoding "${default_decoding}" \
        --decoding "${decoding}" "${told[@]}" "${curves[@]}" \
        --talker_counts "${talker_counts}" --command "${command_line}" \
        --text_normalizer "${text_normalizer}" --fs "${fs}" \
        --mixtures "$(mixtures_in_words)" \
        --model "${model}" --num_examples 5 \
        --machine "$(env -u OMP_NUM_THREADS nproc) cores,$(awk -F: '/^model name/ {print $2; exit}' /proc/cpuinfo)"
}
