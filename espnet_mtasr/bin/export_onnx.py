#!/usr/bin/env python3
"""Export a trained model to ONNX, to decode with onnxruntime.

Writes the graphs of trunk and talker-count head, and of branch, separator and CTC of
each talker count, with config.yaml, the tokenizer and onnx.json, into a folder. Give
that folder as the model, or its onnx.json as `--mtasr_model_file`.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.onnx_model.manifest import QUANTIZATIONS, check_installed, is_onnx
from espnet_mtasr.trust import add_trust_option

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(
        description="Export a trained model to ONNX, to decode with onnxruntime"
    )

    def add(name: str, **kwargs) -> None:
        names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        parser.add_argument(*names, **kwargs)

    add("model", help="Packed model: a .zip, or the folder of an unpacked one")
    add("mtasr_model_file", type=Path, help="Checkpoint of phase 2, instead of --model")
    add(
        "mtasr_train_config",
        type=Path,
        help="config.yaml of the checkpoint's training; default: beside the checkpoint",
    )
    add("output_dir", type=Path, required=True, help="Folder to make")
    add(
        "quantize",
        default="none",
        help="int8: matrices as 8-bit integers; none (default): float32",
    )
    add_trust_option(parser)
    return parser


def find_files(args: argparse.Namespace) -> Tuple[Path, Path]:
    """Return config.yaml and checkpoint.

    Raises:
        UserError: options are missing or can't be combined, or a file doesn't exist.
    """
    if (args.model is None) == (args.mtasr_model_file is None):
        raise UserError("give either --model or --mtasr_model_file")
    if args.model is not None:
        if args.mtasr_train_config is not None:
            raise UserError("--mtasr_train_config: is part of --model; omit it")
        from espnet_mtasr.model_zoo.model_files import fetch_model

        files = fetch_model(args.model)
        return files.mtasr_train_config, files.mtasr_model_file
    model_file = args.mtasr_model_file
    config = args.mtasr_train_config or model_file.parent / "config.yaml"
    options = (("mtasr_model_file", model_file), ("mtasr_train_config", config))
    for name, path in options:
        if not path.is_file():
            raise UserError(
                f"--{name} {path}: no such file; train first or name another"
            )
    return config, model_file


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Export; raises `UserError` if an option or a file must be fixed."""
    args = get_parser().parse_args(cmd)
    if args.quantize not in QUANTIZATIONS:
        raise UserError(
            f"--quantize {args.quantize}: choose one of {', '.join(QUANTIZATIONS)}"
        )
    check_installed(NEEDED)
    config_file, model_file = find_files(args)
    if is_onnx(model_file):
        raise UserError(
            f"{model_file}: is already exported; give the model that it was made from"
        )

    from espnet_mtasr.publishing.onnx_export import (
        ABSOLUTE,
        RELATIVE,
        check_free,
        export_model,
    )

    check_free(args.output_dir)
    report = export_model(
        config_file,
        model_file,
        args.output_dir,
        args.quantize,
        args.trust_remote_code,
    )
    for name, size in report.sizes.items():
        print(f"{args.output_dir / name}: {size / 1e6:.2f} MB")
    print(
        f"total {sum(report.sizes.values()) / 1e6:.2f} MB, quantization "
        f"{args.quantize}; the checkpoint has {model_file.stat().st_size / 1e6:.2f} MB"
    )
    print(
        f"float32 log probabilities equal torch's up to {report.difference:.1g} "
        f"(allowed: {ABSOLUTE:g} + {RELATIVE:g} of a frame's largest)"
    )
    if args.quantize != "none":
        print(
            f"with {args.quantize}, {100 * report.same_tokens:.1f} % of the frames of "
            f"noise have the same most probable token"
        )


if __name__ == "__main__":
    run_command_line(main)
