"""Decode a data set by CTC or by an LLM, with the options of ESPnet's asr_inference.

Writes `1best_recog/text` (SOT), `text_spk1`, ..., `utt2num_spk`, and `rtf` (seconds of
decoding, seconds of audio, batch size) into `--output_dir`; with `--store_posteriors
true` also `posteriors` (scoring/posteriors.py); with `--oracle_output_dir` it also
decodes with the true talker counts of `--utt2num_spk`.

`--decoder llm` is the baseline without CTC: the language model of a phase-1 model
decodes. The true count then picks the branch that it reads; the number of talkers is
what it writes, and is in `utt2num_spk`.
"""

import argparse
import copy
import logging
import time
from pathlib import Path
from typing import Dict

from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.dtypes import DTYPES
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.gpus import device_of
from espnet_mtasr.mixture.speech_list import Kind, Speech, kind_of_entry
from espnet_mtasr.model_zoo.model_files import NGRAM
from espnet_mtasr.scoring import posteriors
from espnet_mtasr.trust import add_trust_option

DECODERS = ("ctc", "llm")
LLM_OPTIONS = ("maxlen_ratio", "length_penalty")
BOOL = ("true", "false")
# Recordings of this many batches are read at a time and sorted by length.
BATCHES_AHEAD = 8


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="YAML file with defaults for these options")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--oracle_output_dir")
    parser.add_argument("--utt2num_spk", help="True talker counts")
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--log_level", default="INFO", type=str.upper)
    parser.add_argument(
        "--data_path_and_name_and_type",
        required=True,
        help="wav.scp,speech,sound as in ESPnet; wav.scp,speech,kaldi_ark; or "
        "utt2mixture,speech,text for mixtures made while loading",
    )
    parser.add_argument("--fs", type=int, default=16000, help="Sampling rate (Hz)")
    parser.add_argument("--key_file", help="Decode only these utterances")
    parser.add_argument("--mtasr_train_config")
    parser.add_argument("--mtasr_model_file", required=True)
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--decoder", default="ctc", choices=DECODERS)
    parser.add_argument("--beam_size", type=int, default=1, help="1: greedy search")
    parser.add_argument(
        "--ngram",
        default="false",
        choices=BOOL,
        help="With decoder ctc and a beam: use the ngram.safetensors beside the model "
        "file (espnet-mtasr fit-ngram)",
    )
    parser.add_argument(
        "--maxlen_ratio",
        type=float,
        help="With decoder llm: maximum number of tokens per second of audio",
    )
    parser.add_argument(
        "--length_penalty",
        type=float,
        help="With decoder llm and a beam: log probabilities are divided by the "
        "number of tokens to this power",
    )
    parser.add_argument(
        "--rescore_routing",
        default="true",
        choices=BOOL,
        help="Use the routing.json beside the model file, if there is one",
    )
    parser.add_argument(
        "--store_posteriors",
        default="false",
        choices=BOOL,
        help="With decoder ctc: store its posteriors over time, for RESULTS.html; this "
        "takes a second pass, which is not timed",
    )
    parser.add_argument(
        "--num_talkers",
        type=int,
        help="Talker count of all mixtures (default: predicted)",
    )
    add_trust_option(parser)
    return parser


def read_config(path: str) -> Dict[str, object]:
    """Read a `--config` file.

    Raises:
        UserError: no such file, not a YAML mapping, or an unknown key.
    """
    import yaml

    if not Path(path).is_file():
        raise UserError(f"--config {path}: no such file; give another")
    try:
        conf = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        reason = " ".join(str(e).split())
        raise UserError(f"{path}: is not YAML ({reason}); fix it") from e
    if not isinstance(conf, dict):
        raise UserError(f"{path}: has no 'key: value' lines; fix it")
    known = {action.dest for action in get_parser()._actions} - {"help", "config"}
    for key in conf:
        if key not in known:
            raise UserError(f"{path}: unknown key {key}; remove it")
    return conf


def parse_arguments(cmd=None) -> argparse.Namespace:
    """Parse; the `--config` file sets defaults, and unknown keys are errors."""
    parser = get_parser()
    first, _ = parser.parse_known_args(cmd)
    if first.config is not None:
        parser.set_defaults(**read_config(first.config))
    args = parser.parse_args(cmd)
    # argparse doesn't check defaults from the file.
    for name in ("batch_size", "beam_size", "fs"):
        value = getattr(args, name)
        if not isinstance(value, int) or value < 1:
            raise UserError(f"--{name} {value}: give a whole number from 1")
    for name in ("rescore_routing", "store_posteriors", "ngram"):
        # YAML has a type for them.
        setattr(args, name, str(getattr(args, name)).lower())
    for name, choices in (
        ("dtype", DTYPES),
        ("decoder", DECODERS),
        ("rescore_routing", BOOL),
        ("store_posteriors", BOOL),
        ("ngram", BOOL),
    ):
        value = getattr(args, name)
        if value not in choices:
            raise UserError(f"--{name} {value}: choose one of {', '.join(choices)}")
    check_options_of_decoder(args)
    if args.oracle_output_dir is not None and args.utt2num_spk is None:
        raise UserError("--oracle_output_dir needs --utt2num_spk")
    return args


def check_options_of_decoder(args: argparse.Namespace) -> None:
    """Raise `UserError` if an option is out of range or of the other decoder."""
    if args.ngram == "true" and args.decoder != "ctc":
        raise UserError("--ngram true: only for decoder ctc; omit it")
    if args.ngram == "true" and args.beam_size == 1:
        raise UserError("--ngram true: needs --beam_size 2 or more")
    for name in LLM_OPTIONS:
        value = getattr(args, name)
        if value is None:
            continue
        if args.decoder != "llm":
            raise UserError(f"--{name} {value}: only for decoder llm; omit it")
        if not isinstance(value, (int, float)):
            raise UserError(f"--{name} {value}: give a number")
    if args.maxlen_ratio is not None and not args.maxlen_ratio > 0:
        raise UserError(f"--maxlen_ratio {args.maxlen_ratio}: give a number above 0")


def check_inputs(args: argparse.Namespace) -> None:
    """Check all files before anything is loaded.

    Raises:
        UserError: a file is missing, a table is bad or lacks an utterance of the list,
            or a recording is damaged or has another rate.
    """
    for option in ("mtasr_model_file", "mtasr_train_config"):
        path = getattr(args, option)
        if path is not None and not Path(path).is_file():
            raise UserError(f"--{option} {path}: no such file; train first")
    if (
        args.ngram == "true"
        and not Path(args.mtasr_model_file).with_name(NGRAM).is_file()
    ):
        raise UserError(
            f"--ngram true: there is no {NGRAM} beside {args.mtasr_model_file}; run "
            "stages 5 and 12 with --use_ngram true"
        )
    data = args.data_path_and_name_and_type.split(",")
    if len(data) != 3 or data[1] != "speech":
        raise UserError(
            f"--data_path_and_name_and_type {args.data_path_and_name_and_type}: "
            f"give wav.scp,speech,sound"
        )
    path, _, espnet_type = data
    table = read_table(path)
    keys = list(table if args.key_file is None else read_table(args.key_file))
    kind = kind_of_entry(path, espnet_type)
    for key in keys:
        if key not in table:
            raise UserError(f"{args.key_file}: {key} is not in {path}; fix the list")
        if kind in (Kind.RECORDING, Kind.ARCHIVE, Kind.MIXTURE):
            info = Speech(kind, table[key]).check(key)
            if (info.rate, info.channels) != (args.fs, 1):
                raise UserError(
                    f"{table[key]} (utterance {key}): {info.rate} Hz and "
                    f"{info.channels} channels, but the model needs {args.fs} Hz and "
                    "1; run stage 3"
                )
    if args.oracle_output_dir is not None:
        counts = read_table(args.utt2num_spk)
        for key in keys:
            if not counts.get(key, "").isdecimal():
                raise UserError(
                    f"{args.utt2num_spk}: has no talker count for {key}; run stage 3"
                )


class Writer:
    """Collects hypotheses and writes them in ESPnet's layout."""

    def __init__(self, directory: str):
        self.directory = Path(directory) / "1best_recog"
        self.tables: Dict[str, Dict[str, str]] = {"text": {}, "utt2num_spk": {}}

    def add(self, key: str, hypothesis) -> None:
        """Add the hypothesis of one mixture."""
        self.tables["text"][key] = hypothesis.sot_text
        self.tables["utt2num_spk"][key] = str(hypothesis.num_talkers)
        for k, talker in enumerate(hypothesis.talkers, 1):
            self.tables.setdefault(f"text_spk{k}", {})[key] = talker.text
            self.tables.setdefault(f"token_spk{k}", {})[key] = " ".join(talker.tokens)

    def add_posteriors(self, key: str, hypothesis) -> None:
        """Add what the CTC computed of one mixture."""
        word = posteriors.pack([talker.posteriors for talker in hypothesis.talkers])
        self.tables.setdefault(posteriors.TABLE, {})[key] = word

    def write(self) -> None:
        """Write all files."""
        for name, table in self.tables.items():
            write_table(self.directory / name, table)


def load(args: argparse.Namespace):
    """Return a `Speech2Text` or a `Speech2TextLLM`."""
    options = dict(
        mtasr_train_config=args.mtasr_train_config,
        mtasr_model_file=args.mtasr_model_file,
        device=device_of(args.ngpu),
        dtype=args.dtype,
        beam_size=args.beam_size,
        num_talkers=args.num_talkers,
        trust_remote_code=args.trust_remote_code,
    )
    if args.decoder == "llm":
        from espnet_mtasr.inference_llm import Speech2TextLLM

        given = {name: getattr(args, name) for name in LLM_OPTIONS}
        given = {name: value for name, value in given.items() if value is not None}
        return Speech2TextLLM(**options, fs=args.fs, **given)
    from espnet_mtasr.inference import Speech2Text

    rescore, ngram = args.rescore_routing == "true", args.ngram == "true"
    return Speech2Text(**options, rescore=rescore, ngram=ngram)


def decode(args: argparse.Namespace) -> None:
    """Decode all utterances, with the predicted count first.

    Only this is timed. Posteriors take a second pass, given that count. Those mixtures
    are decoded again whose true count is another.
    """
    import torch

    from espnet_mtasr.tasks.mtasr import MTASRTask

    speech2text = load(args)
    true_counts = {} if args.utt2num_spk is None else read_table(args.utt2num_spk)
    loader = MTASRTask.build_streaming_iterator(
        [tuple(args.data_path_and_name_and_type.split(","))],
        preprocess_fn=MTASRTask.build_preprocess_fn(speech2text.train_args, False),
        collate_fn=MTASRTask.build_collate_fn(speech2text.train_args, False),
        key_file=args.key_file,
        batch_size=args.batch_size * (1 if args.batch_size == 1 else BATCHES_AHEAD),
        dtype="float32",
        num_workers=args.num_workers,
        ngpu=args.ngpu,
        inference=True,
    )
    keeper = None
    if args.store_posteriors == "true" and args.decoder == "ctc":
        keeper = copy.copy(speech2text)
        keeper.keep_posteriors, keeper.beam_size = True, 1
    writer, oracle = Writer(args.output_dir), Writer(args.oracle_output_dir or "")
    # The first call also sets up libraries, so it is not timed.
    speech2text([torch.zeros(args.fs)])
    decode_seconds, samples = 0.0, 0
    for keys, batch in loader:
        lengths = batch["speech_lengths"].tolist()
        waves = [wave[:n] for wave, n in zip(batch["speech"], lengths)]
        logging.info(f"speech length: {' '.join(map(str, lengths))}")
        start = time.perf_counter()
        hypotheses = speech2text.in_batches(waves, args.batch_size)
        if args.ngpu > 0:
            torch.cuda.synchronize()
        decode_seconds += time.perf_counter() - start
        samples += sum(lengths)
        for key, hypothesis in zip(keys, hypotheses):
            logging.info(f"best hypo: {hypothesis.sot_text}")
            writer.add(key, hypothesis)
        if keeper is not None:
            counts = [hypothesis.num_talkers for hypothesis in hypotheses]
            kept = keeper.in_batches(waves, args.batch_size, counts)
            for key, hypothesis in zip(keys, kept):
                writer.add_posteriors(key, hypothesis)
        if args.oracle_output_dir is not None:
            found = dict(zip(keys, hypotheses))
            # A language model writes other texts if it is given the count.
            again = {
                key: wave
                for key, wave in zip(keys, waves)
                if args.decoder == "llm"
                or found[key].num_talkers != int(true_counts[key])
            }
            counts = [int(true_counts[key]) for key in again]
            hypotheses = speech2text.in_batches(
                list(again.values()), args.batch_size, counts
            )
            found.update(zip(again, hypotheses))
            for key, hypothesis in found.items():
                oracle.add(key, hypothesis)
    writer.write()
    if args.oracle_output_dir is not None:
        oracle.write()
    seconds = samples / args.fs
    # Written last and atomically: if it exists, the decoding is complete.
    rtf = Path(args.output_dir) / "1best_recog" / "rtf"
    write_whole(rtf, f"{decode_seconds:.4f} {seconds:.4f} {args.batch_size}\n")
    logging.info(f"RTF {decode_seconds / max(seconds, 1e-9):.4f}")


def main(cmd=None) -> None:
    """Check the input, then decode."""
    args = parse_arguments(cmd)
    logging.basicConfig(
        level=args.log_level,
        format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s",
    )
    check_inputs(args)
    decode(args)


if __name__ == "__main__":
    run_command_line(main)
