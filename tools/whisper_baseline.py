"""Whisper on a recipe's test mixtures, for comparison with the recipe's own model.

    python -m tools.whisper_baseline decode --sets test_ml1mix_clean test_ml2mix_clean
    python -m tools.whisper_baseline decode --sets test_ml2mix_clean --diarize
    python -m tools.whisper_baseline keep    # scores the texts into doc/results
    python -m tools.whisper_baseline show    # writes the page's table

`decode` runs after stages 1 to 3 and 6, and can be stopped and started again. Whisper
writes one text per mixture. With `--diarize` it writes one per talker that a
diarization model finds: for each of them it gets the mixture, silenced where that
talker is silent.

Search is greedy, in English, without timestamps. If a text repeats itself, its tokens
are drawn at rising temperatures until it doesn't, as in Whisper's own code.
"""

import argparse
import json
import zlib
from itertools import batched
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

import numpy as np

from espnet_mtasr.corpora.cleaning import words_of
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.text.sot import join_sot
from tools.kept_results import ROOT, folder_of, kept_file, read
from tools.marked_text import put

RECIPE = folder_of("mini_librispeech_mix")
SETS = tuple(f"test_{c}{k}mix_clean" for k in (1, 2, 3) for c in ("ml", "so"))
KEPT = ROOT / "doc" / "results" / "whisper_baseline.json"
PAGE = RECIPE / "README.md"
SYSTEMS = ("whisper", "diarized")
# As usual for Whisper: half of the decoder's positions; a text whose tokens compress
# more than this repeats itself; temperatures to try.
MAX_TOKENS = 224
COMPRESSION = 1.35
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Signs that Whisper may write. Its other signs describe sounds, or are formatting.
SIGNS = frozenset(".,?!'-$%")
# Hz; seconds.
RATE, LONGEST = 16000, 30
# What is kept of a set's report.
FIGURES = (
    "n_utt",
    "n_words",
    "cpwer",
    "cpwer_ci95",
    "orc_wer",
    "sub",
    "del",
    "ins",
    "count_accuracy",
)
# Mixtures that are decoded together, and written together.
BATCH = 10
Split = Callable[[np.ndarray], List[np.ndarray]]
# Ways to normalize texts: as the recipe's references are; by Whisper's own normalizer.
WAYS = ("recipe", "whisper_english")


class Transcriber:
    """A Whisper with its decoder, which writes one text.

    Args:
        folder: In Hugging Face format, with tokenizer.json.
        language: Of the speech.

    Raises:
        UserError: there is no Whisper.
    """

    def __init__(self, folder: Path, language: str = "en"):
        import torch
        from transformers import (
            WhisperFeatureExtractor,
            WhisperForConditionalGeneration,
        )

        from espnet_mtasr.asr.teacher.whisper_tokenizer import WhisperSOTTokenizer

        if not (folder / "config.json").is_file():
            raise UserError(
                f"--whisper {folder}: has no config.json; run stage 6 first"
            )
        self.tokenizer = WhisperSOTTokenizer(str(folder))
        self.model = WhisperForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        config = self.model.config
        self.features = WhisperFeatureExtractor(config.num_mel_bins)
        _configure(self.model.generation_config, self.tokenizer, config, language)

    def __call__(self, waves: Sequence[np.ndarray]) -> List[str]:
        """Return the texts of waveforms `(N,)` at 16 kHz, of at most 30 s."""
        import torch
        from transformers.utils import logging

        # A batch's draws don't depend on the batches before it.
        torch.manual_seed(0)
        features = self.features(
            list(waves), sampling_rate=RATE, return_tensors="pt"
        ).input_features
        # In every batch, generate warns of options that it sets itself.
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()
        with torch.inference_mode():
            written = self.model.generate(
                features,
                max_new_tokens=MAX_TOKENS,
                temperature=TEMPERATURES,
                compression_ratio_threshold=COMPRESSION,
                condition_on_prev_tokens=False,
                return_timestamps=False,
            )
        logging.set_verbosity(verbosity)
        texts = self.tokenizer.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


def _configure(generation: Any, tokenizer: Any, config: Any, language: str) -> None:
    """Set what a converted Whisper's generation_config.json lacks."""
    prompt = tokenizer.prompt(config, language)
    generation.is_multilingual = len(prompt) > 2
    generation.no_timestamps_token_id = prompt[-1]
    if generation.is_multilingual:
        generation.lang_to_id = {f"<|{language}|>": prompt[1]}
        generation.task_to_id = {"transcribe": prompt[2]}
        generation.language, generation.task = language, "transcribe"
    words = tokenizer.tokenizer
    end = config.eos_token_id
    texts = words.batch_decode([[number] for number in range(len(words))])
    generation.suppress_tokens = [
        number for number, text in enumerate(texts) if _is_sign(text)
    ] + [number for number in words.all_special_ids if number != end]
    # A text has at least one word.
    generation.begin_suppress_tokens = [
        *words.encode(" ", add_special_tokens=False),
        end,
    ]


def _is_sign(text: str) -> bool:
    text = text.strip()
    return bool(text) and not any(
        c.isalnum() or c in SIGNS or c == "\ufffd" for c in text
    )


def sample(utts: Iterable[str], number: int) -> List[str]:
    """Return `number` of a set's mixtures, always the same ones, in no order.

    A set's first mixtures would have few talkers, because ids begin with them.
    """
    return sorted(utts, key=lambda utt: zlib.crc32(utt.encode()))[:number]


def make_split(diarize: bool) -> Split:
    """Return what makes the waveforms of a mixture that Whisper gets."""
    if not diarize:
        return lambda samples: [samples]
    from tools.diarizer import Diarizer

    return Diarizer().split


def decode(
    data: Path, output: Path, transcriber: Transcriber, split: Split, number: int
) -> None:
    """Write the texts of a sample of a set, and how many texts each mixture has.

    Args:
        data: Data directory with `utt2mixture`.
        output: Gets `text` and `utt2num_spk`; what is there already is kept.
        transcriber: Writes a text per waveform.
        split: Makes waveforms of a mixture.
        number: Of mixtures.

    Raises:
        UserError: the data directory lacks its mixtures.
    """
    from espnet_mtasr.mixture.render import render
    from espnet_mtasr.mixture.spec import read_specs

    if not (data / "utt2mixture").is_file():
        raise UserError(f"{data}: has no utt2mixture; run the recipe's stages 1 to 3")
    specs = read_specs(data / "utt2mixture")
    for utt, spec in specs.items():
        if spec.seconds > LONGEST:
            raise UserError(
                f"{data}: {utt} has {spec.seconds:.1f} s, and Whisper hears {LONGEST} "
                "at a time; leave it out"
            )
    texts: Dict[str, str] = {}
    counts: Dict[str, int] = {}
    if (output / "utt2num_spk").is_file():
        texts = read_table(output / "text")
        counts = {utt: int(n) for utt, n in read_table(output / "utt2num_spk").items()}
    for utts in batched(sample(specs, number), BATCH):
        if all(utt in counts for utt in utts):
            continue
        waves = [split(render(specs[utt])) for utt in utts]
        flat = [wave for some in waves for wave in some]
        written = [text for some in batched(flat, BATCH) for text in transcriber(some)]
        for utt, some in zip(utts, waves):
            texts[utt] = join_sot([written.pop(0) for _ in some])
            counts[utt] = len(some)
        write_table(output / "text", texts)
        write_table(output / "utt2num_spk", counts)
        print(f"{output}: {len(counts)} of {number}", flush=True)


def score(
    data: Path, decoded: Path, normalize: Callable[[str], str], number: int
) -> Dict[str, Any]:
    """Return the rates of a set's sample, as stage 13 computes them.

    Args:
        data: Its references.
        decoded: What `decode` wrote.
        normalize: Changes references and hypotheses before they are compared.
        number: Of mixtures.

    Raises:
        UserError: a mixture is not decoded.
    """
    from dataclasses import replace

    from espnet_mtasr.scoring.inputs import read_hypotheses, read_references
    from espnet_mtasr.scoring.results import score_set

    references = read_references(data, [1, 2, 3])
    hypotheses = read_hypotheses(decoded, references)
    texts = {utt: references.texts[utt] for utt in sample(references.texts, number)}
    missing = [utt for utt in texts if utt not in hypotheses.texts]
    if missing:
        raise UserError(
            f"{decoded / 'text'}: lacks {len(missing)} mixtures, such as {missing[0]}; "
            "run decode again"
        )
    some = replace(references, texts=texts, overlaps=None, conditions=None)
    report = score_set(
        some.normalized(normalize), hypotheses.normalized(normalize), None, [1, 2, 3]
    ).report
    return {key: report[key] for key in FIGURES}


def keep(data: Path, decoded: Path, number: int, output: Path) -> None:
    """Write the rates of the sets that are decoded so far, normalized in both `WAYS`.

    Raises:
        UserError: no set is decoded.
    """
    from espnet_mtasr.scoring.text_normalizer import make_normalizer

    normalizers = dict(zip(WAYS, (words_of, make_normalizer("whisper_english"))))
    kept: Dict[str, Any] = {}
    for system in SYSTEMS:
        for name in SETS:
            folder = decoded / system / name
            if not (folder / "text").is_file():
                continue
            kept.setdefault(system, {})[name] = {
                way: score(data / name, folder, normalize, number)
                for way, normalize in normalizers.items()
            }
    if not kept:
        raise UserError(f"{decoded}: nothing is decoded; run decode first")
    write_whole(output, json.dumps(kept, indent=1) + "\n")


def table(kept: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Return cpWER of the recipe's models, Whisper, and diarization with Whisper.

    Args:
        kept: What `keep` wrote.
        models: results.json of each, by the column's name.
    """
    lines = [
        f"| set | mixtures | {' | '.join(models)} | Whisper | sub / del / ins "
        "| its normalizer | diarized, then Whisper | sub / del / ins "
        "| its normalizer | count right % |",
        f"|---|{'---:|' * (8 + len(models))}",
    ]
    alone, diarized = (kept.get(system, {}) for system in ("whisper", "diarized"))
    for name in dict.fromkeys((*alone, *diarized)):
        found = [_cells(system.get(name)) for system in (alone, diarized)]
        cells = [
            name,
            str((alone.get(name) or diarized[name])["recipe"]["n_utt"]),
            *(_rate(results["sets"][name]) for results in models.values()),
            *found[0][:3],
            *found[1],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(report: Mapping[str, Any]) -> str:
    low, high = report["cpwer_ci95"]
    return f"{report['cpwer']:.1f} ({low:.1f} to {high:.1f})"


def _cells(ways: Optional[Mapping[str, Any]]) -> List[str]:
    if ways is None:
        return ["-"] * 4
    ours, whispers = (ways[way] for way in WAYS)
    return [
        _rate(ours),
        " / ".join(str(ours[kind]) for kind in ("sub", "del", "ins")),
        f"{whispers['cpwer']:.1f}",
        f"{ours['count_accuracy']:.1f}",
    ]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about)
        if name != "show":
            added.add_argument("--data", type=Path, default=RECIPE / "data")
            added.add_argument(
                "--mixtures",
                type=int,
                default=200,
                help="a sample of this size of each set",
            )
        return added

    decoding = command("decode", "write texts")
    decoding.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    decoding.add_argument(
        "--whisper", type=Path, default=RECIPE / "exp" / "models" / "encoder"
    )
    decoding.add_argument("--diarize", action="store_true", help="a text per talker")
    decoding.add_argument("--output", type=Path, default=RECIPE / "exp" / "baseline")
    keeping = command("keep", "score the texts")
    keeping.add_argument("--decoded", type=Path, default=RECIPE / "exp" / "baseline")
    keeping.add_argument("--output", type=Path, default=KEPT)
    command("show", "write the page's table")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Decode, keep or show."""
    args = get_parser().parse_args(cmd)
    if "mixtures" in args and args.mixtures < 1:
        raise UserError(f"--mixtures {args.mixtures}: give at least 1")
    if args.command == "show":
        taught = read(kept_file("mini_librispeech_mix_teacher"))
        models = {
            "CTC alone": read(kept_file("mini_librispeech_mix")),
            "with teacher and n-gram": taught["with_ngram"],
        }
        put(PAGE, "whisper", table(read(KEPT), models))
    elif args.command == "keep":
        keep(args.data, args.decoded, args.mixtures, args.output)
    else:
        transcriber, split = Transcriber(args.whisper), make_split(args.diarize)
        for name in args.sets:
            output = args.output / SYSTEMS[args.diarize] / name
            decode(args.data / name, output, transcriber, split, args.mixtures)


if __name__ == "__main__":
    run_command_line(main)
