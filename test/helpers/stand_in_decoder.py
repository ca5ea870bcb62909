"""What stands for mtasr_inference where the shell around it is tested."""

# Writes each key of `--key_file` as a text, in bash.
DECODE = """\
while [ $# -gt 0 ]; do
    case $1 in
        --key_file) keys=$2 ;;
        --output_dir | --oracle_output_dir)
            mkdir -p "$2/1best_recog"
            cut -d' ' -f1 "${keys}" >"$2/1best_recog/text"
            cp "$2/1best_recog/text" "$2/1best_recog/utt2num_spk"
            echo 1 4 1 >"$2/1best_recog/rtf" ;;
    esac
    shift
done
"""
