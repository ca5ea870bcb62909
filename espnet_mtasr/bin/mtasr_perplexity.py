"""Stage 9: how well does the teacher predict the transcripts of a dev set?

Prints and writes the SOT perplexity per talker count: exp of the cross entropy summed
over all text tokens (end of sentence included) / their number. For comparison also
with each mixture's speech replaced by that of another mixture of the same count: a
teacher that listens gets much worse.
"""

import argparse
import json
import logging
import math
from pathlib import Path

from espnet_mtasr.data.tables import read_data_dir
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.speech_list import speech_entry


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mtasr_train_config", type=Path, required=True)
    parser.add_argument("--mtasr_model_file", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path, required=True, help="Set in dump/")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--log_level", default="INFO", type=str.upper)
    return parser


def measure(args: argparse.Namespace) -> dict:
    """Return `{count: {n_utt, n_tokens, perplexity, accuracy, ..._other_speech}}`."""
    import torch
    from espnet2.torch_utils.device_funcs import to_device

    from espnet_mtasr.tasks.mtasr import MTASRTask

    device = "cuda" if args.ngpu > 0 else "cpu"
    model, train_args = MTASRTask.build_model_from_file(
        args.mtasr_train_config, args.mtasr_model_file, device, with_teacher=True
    )
    if model.teacher is None:
        raise UserError(
            f"{args.mtasr_model_file}: has no teacher; give a phase-1 model"
        )
    model.eval()
    loader = MTASRTask.build_streaming_iterator(
        [
            speech_entry(args.data_dir),
            (str(args.data_dir / "text"), "text", "text"),
        ],
        preprocess_fn=MTASRTask.build_preprocess_fn(train_args, False),
        collate_fn=MTASRTask.build_collate_fn(train_args, False),
        batch_size=args.batch_size,
        dtype="float32",
        num_workers=args.num_workers,
    )
    sums: dict = {n: [0, 0, 0.0, 0, 0.0, 0] for n in model.talker_counts}
    for keys, batch in loader:
        batch = to_device(batch, device)
        names = [f"text_spk{k}_lengths" for k in range(1, max(sums) + 1)]
        counts = (torch.stack([batch[n] for n in names], 1) > 0).sum(1)
        with torch.no_grad():
            trunk = model.encode_trunk(batch["speech"], batch["speech_lengths"])
            for count in counts.unique().tolist():
                at = (counts == count).nonzero(as_tuple=True)[0]
                hidden, lengths = model.encoder.encode_branch(trunk, count, at)
                text, text_lengths = batch["text"][at], batch["text_lengths"][at]
                right = model.teacher(hidden, lengths, text, text_lengths)
                total = sums[count]
                total[0] += len(at)
                total[1] += int(right.num_tokens.sum())
                total[2] += float((right.loss * right.num_tokens).sum())
                total[3] += int(right.num_correct.sum())
                if len(at) > 1:
                    wrong = model.teacher(
                        hidden.roll(1, 0), lengths.roll(1, 0), text, text_lengths
                    )
                    total[4] += float((wrong.loss * wrong.num_tokens).sum())
                    total[5] += int(wrong.num_tokens.sum())
        logging.info(f"{keys[0]}: {len(keys)} mixtures")
    return {
        str(count): dict(
            n_utt=n_utt,
            n_tokens=n_tokens,
            perplexity=math.exp(loss / n_tokens),
            accuracy=100.0 * correct / n_tokens,
            perplexity_other_speech=(
                math.exp(wrong_loss / n_wrong) if n_wrong > 0 else None
            ),
        )
        for count, (n_utt, n_tokens, loss, correct, wrong_loss, n_wrong) in sums.items()
        if n_tokens > 0
    }


def main(cmd=None) -> None:
    """Measure and write."""
    args = get_parser().parse_args(cmd)
    logging.basicConfig(level=args.log_level)
    for path in (args.mtasr_train_config, args.mtasr_model_file):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run stage 8 first")
    read_data_dir(args.data_dir)
    result = measure(args)
    write_whole(args.output, json.dumps(result, indent=2) + "\n")
    for count, row in result.items():
        other = row["perplexity_other_speech"]
        print(
            f"{count} talkers: SOT perplexity {row['perplexity']:.2f} (another "
            f"mixture's speech: {'?' if other is None else f'{other:.2f}'}), "
            f"token accuracy {row['accuracy']:.1f} %"
        )


if __name__ == "__main__":
    run_command_line(main)
