#!/usr/bin/env bash
# Options of ESPnet's asr.sh that mtasr.sh doesn't have. They are translated to ours,
# accepted if their value changes nothing, and otherwise refused by a message that names
# our option. mtasr.sh sources it before parse_options.sh; it rewrites "$@". So does a
# run.sh that reads options which ESPnet's stand for.

# espnet_option NAME VALUE: sets `espnet_words` to the replacement for mtasr.sh, or
# dies; returns 1 if it isn't one of ESPnet's.
espnet_option() {
    local name=$1 value=$2
    local ours='' accepted='' instead=''
    case ${name} in
        asr_config | asr_args | asr_tag) ours=phase2_${name#asr_} ;;
        inference_asr_model) ours=inference_mtasr_model ;;
        fs)
            ours=fs
            if [[ ${value} =~ ^([0-9]+)k$ ]]; then value=${BASH_REMATCH[1]}000; fi
            ;;
        stop_stage)
            ours=stop_stage
            # ESPnet's default, 10000, and the like: all stages.
            if [[ ${value} =~ ^[0-9]{3,6}$ ]]; then value=15; fi
            ;;
        lang | word_vocab_size | bpe_input_sentence_size) accepted=any ;;
        feats_type)
            accepted=raw
            instead="recordings are read unchanged; set frontend in the configurations"
            ;;
        feats_normalize | asr_speech_fold_length | asr_text_fold_length)
            instead="set normalize or fold_length in the configurations"
            instead+=" (--phase1_config, --phase2_config)"
            ;;
        num_splits_asr | num_splits_lm)
            accepted=1
            instead="lists are not split; omit it"
            ;;
        use_lm | use_word_lm)
            accepted=false
            instead="CTC decodes alone, or with --use_ngram true;"
            instead+=" --inference_config conf/decode_llm.yaml decodes by the teacher (--llm)"
            ;;
        lm_train_text) return 1 ;; # ours
        lm_* | inference_lm)
            instead="no neural language model is used in decoding; --use_ngram true trains"
            instead+=" an n-gram, --llm names the teacher"
            ;;
        inference_ngram | ngram_exp)
            instead="--use_ngram true trains one, and conf/decode_ngram.yaml uses it"
            ;;
        use_streaming | debug)
            accepted=false
            instead="is not supported; omit it"
            ;;
        k2_ctc_decoding | num_paths | nll_batch_size) accepted=any ;; # only read with use_k2
        use_k2 | k2_config)
            accepted=false
            instead="k2 is not used; --inference_args '--beam_size 10' decodes by prefix"
            instead+=" beam search"
            ;;
        use_nbest_rescoring)
            accepted=false
            instead="hypotheses are not rescored; --inference_config conf/decode_llm.yaml"
            instead+=" decodes by the teacher (--llm)"
            ;;
        use_maskctc)
            accepted=false
            instead="Mask-CTC is not supported; choose an --inference_config"
            ;;
        asr_task)
            accepted=asr
            instead="the task is always this recipe's; omit it"
            ;;
        num_ref | num_inf)
            instead="give the talkers by --talker_counts"
            ;;
        ref_text_files | ref_text_names)
            instead="all talkers' words are in text, with <sc> between talkers; omit it"
            ;;
        auxiliary_data_tags)
            instead="further data is not read; omit it"
            ;;
        post_process_local_data_opts)
            instead="local/data.sh runs once; give --local_data_opts"
            ;;
        multi_columns_input_wav_scp | multi_columns_output_wav_scp)
            accepted=false
            instead="mixtures have one channel; give each line of wav.scp one recording"
            ;;
        hugging_face_model_name_or_path)
            instead="give --llm with --token_type hugging_face"
            ;;
        hyp_cleaner)
            accepted=none
            instead="texts are scored through --text_normalizer"
            ;;
        batch_size)
            accepted=1
            instead="give --inference_args '--batch_size ${value}'"
            ;;
        cleaner)
            accepted=none
            instead="give it to both phases, --phase1_args and --phase2_args"
            instead+=" '--cleaner ${value}'; texts are scored through --text_normalizer"
            ;;
        g2p)
            accepted=none
            instead="there are no phonemes; choose --token_type bpe, char, word or"
            instead+=" hugging_face"
            ;;
        nlsyms_txt | bpe_nlsyms)
            accepted=none
            instead="texts may only contain words; remove such symbols in local/data.sh"
            ;;
        bpe_char_cover)
            accepted=1.0
            instead="all characters are covered; omit it"
            ;;
        oov | blank | sos_eos)
            case ${name} in
                oov) accepted="<unk>" ;;
                blank) accepted="<blank>" ;;
                sos_eos) accepted="<sos/eos>" ;;
            esac
            instead="it is always ${accepted} here; omit it"
            ;;
        score_opts | local_score_opts)
            instead="meeteval scores, not sclite; see --text_normalizer, and"
            instead+=" 'espnet-mtasr score --help' for more"
            ;;
        skip_upload)
            accepted=true
            instead="give --skip_packing false to pack, --hf_repo OWNER/NAME to upload"
            ;;
        *) return 1 ;;
    esac
    espnet_words=()
    if [ -n "${ours}" ]; then
        espnet_words=("--${ours}" "${value}")
        if [[ ${ours} == phase2_* ]]; then
            log "--${name} is taken as --${ours} (phase 1's is --phase1_${ours#phase2_})"
        fi
    elif [ -n "${value}" ] && [ "${accepted}" != any ] && [ "${value}" != "${accepted}" ]; then
        die "--${name} ${value}: ${instead}"
    fi
}

espnet_translated=()
while [ $# -gt 0 ]; do
    espnet_name=${1%%=*}
    espnet_name=${espnet_name#--}
    espnet_name=${espnet_name//-/_}
    if [[ ! $1 =~ ^--[a-z][a-z0-9_-]*(=|$) ]] || { [[ $1 != *=* ]] && [ $# -lt 2 ]; }; then
        espnet_translated+=("$1")
        shift
        continue
    fi
    espnet_given=("$1")
    espnet_value=${1#*=}
    if [[ $1 != *=* ]]; then
        espnet_value=$2
        espnet_given+=("$2")
    fi
    if espnet_option "${espnet_name}" "${espnet_value}"; then
        espnet_translated+=("${espnet_words[@]}")
        shift ${#espnet_given[@]}
    elif [ -n "${!espnet_name+set}" ] || [ -n "${passed_to:-}" ]; then
        # The value of one of our options may look like one of ESPnet's options. A run.sh
        # doesn't know mtasr.sh's options, but each has a value.
        espnet_translated+=("${espnet_given[@]}")
        shift ${#espnet_given[@]}
    else
        espnet_translated+=("$1")
        shift
    fi
done
set -- "${espnet_translated[@]}"
unset -f espnet_option
unset espnet_translated espnet_words espnet_given espnet_name espnet_value
