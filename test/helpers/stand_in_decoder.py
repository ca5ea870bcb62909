"""What stands for Python where the shell around it is tested."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What mtasr.sh asks for: the decoder of conf/llm.yaml is llm, and ctc_weight tells
# whether there is a teacher. The real module says what the speech is.
ANSWERS = f"""\
case $* in
    *check_config*)
        decoder=ctc teacher=true
        case $* in *"--inference_config conf/llm.yaml"*) decoder=llm ;; esac
        case $* in *ctc_weight=1.0*) teacher=false ;; esac
        printf '%s\\n' "decoder ${{decoder}}" "phase2_has_teacher ${{teacher}}"
        exit ;;
    *speech_entries*) PYTHONPATH={ROOT} exec {sys.executable} "$@" ;;
esac
"""

# Writes each key of `--key_file` as a text, in bash. Decoder llm has no posteriors.
DECODE = """\
while [ $# -gt 0 ]; do
    case $1 in
        --config) config=$2 ;;
        --key_file) keys=$2 ;;
        --store_posteriors) store=$2 ;;
        --output_dir | --oracle_output_dir)
            mkdir -p "$2/1best_recog"
            cut -d' ' -f1 "${keys}" >"$2/1best_recog/text"
            cp "$2/1best_recog/text" "$2/1best_recog/utt2num_spk"
            case $1,${config},${store} in
                --output_dir,*decode*,true)
                    sed 's/ .*/ word/' "${keys}" >"$2/1best_recog/posteriors" ;;
            esac
            echo 1 4 1 >"$2/1best_recog/rtf" ;;
    esac
    shift
done
"""
