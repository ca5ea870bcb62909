"""Find mistakes in a recipe's configurations and options before hours of work.

mtasr.sh calls it once, before stage 1, with everything that its stages will get, and
reads its output: the decoder (ctc or llm) and the talker count given to it, if any,
whether phase 2 has a teacher (true or false), and the number of epochs at the start of
its curriculum that only have one talker.
"""

import argparse
import re
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.console import own_words_only
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.gpus import check_gpus


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    for phase in (1, 2):
        parser.add_argument(f"--phase{phase}_config", help="Training configuration")
        parser.add_argument(
            f"--phase{phase}_args",
            default="",
            help="Further options, quoted as one word",
        )
    for option, phase in (("--phase1_model", 1), ("--inference_mtasr_model", 2)):
        parser.add_argument(
            option,
            nargs=2,
            metavar=("FOLDER", "NAME"),
            help=f"Checkpoint that phase {phase} will have written",
        )
    parser.add_argument("--aligned_start", help="Model that stage 10 aligns words with")
    parser.add_argument("--inference_config", help="Options of mtasr_inference")
    parser.add_argument("--inference_args", default="", help="Further options")
    parser.add_argument(
        "--cache_trunk", choices=("true", "false"), default="false", help="In both"
    )
    parser.add_argument(
        "--draws",
        choices=("true", "false"),
        default="false",
        help="Stage 4 draws epochs of dynamic mixing by phase 2's configuration",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="GPUs needed here")
    parser.add_argument(
        "--task_options",
        nargs=argparse.REMAINDER,
        default=[],
        help="Options that the trainer gets in both phases; must come last",
    )
    return parser


def check_training(
    path: str,
    options: Sequence[str] = (),
    shared: Sequence[str] = (),
    cached: bool = False,
) -> argparse.Namespace:
    """Return a training's options.

    Args:
        path: Configuration.
        options: Options of this training, which messages name.
        shared: Options that every training of the recipe gets.
        cached: Whether it reads cached outputs of the trunk.

    Raises:
        UserError: an option, or an option of a class, doesn't exist or has a bad value.
    """
    from espnet_mtasr.tasks.cached_trunk import check_cacheable
    from espnet_mtasr.tasks.mtasr import MTASRTask

    try:
        args = MTASRTask.parse_config(path, [*shared, *options])
        MTASRTask.check_args(args)
        if cached:
            check_cacheable(args)
    except UserError as e:
        given = f" with {' '.join(options)}" if options else ""
        raise UserError(f"{path}{given}: {e}") from e
    return args


def check_checkpoint(
    option: str, given: Optional[Sequence[str]], args: argparse.Namespace
) -> None:
    """Check that a training writes a checkpoint of this name, unless it exists.

    Args:
        option: Which names it.
        given: The training's folder and the checkpoint; None: nothing to check.
        args: The training's options.

    Raises:
        UserError: it doesn't.
    """
    if given is None or Path(*given).exists():
        return
    name = given[1]
    kept = args.keep_nbest_models
    kept = {1, *([kept] if isinstance(kept, int) else kept)}
    stems = [f"{phase}.{value}" for phase, value, *_ in args.best_model_criterion]
    written = {"latest.pth"}
    for stem in stems:
        written |= {f"{stem}.best.pth", f"{stem}.ave.pth"}
        written |= {f"{stem}.ave_{n}best.pth" for n in kept}
    epoch = re.fullmatch("([1-9][0-9]*)epoch[.]pth", name)
    if name in written or (epoch and int(epoch[1]) <= args.max_epoch):
        return
    choices = ", ".join(f"{stem}.ave.pth, {stem}.best.pth" for stem in stems)
    raise UserError(
        f"{option} {name}: the training writes no such file; give {choices}, "
        f"latest.pth or Nepoch.pth, with N up to {args.max_epoch}"
    )


def decoding_options(path: str, options: Sequence[str] = ()) -> argparse.Namespace:
    """Return the options from an inference configuration and further options.

    Raises:
        UserError: an option doesn't exist or has a wrong value.
    """
    from espnet_mtasr.bin import mtasr_inference

    needed = ["--output_dir", "", "--mtasr_model_file", ""]
    needed += ["--data_path_and_name_and_type", ""]
    return mtasr_inference.parse_arguments([*needed, "--config", path, *options])


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Check all that is given, and print the results."""
    args = get_parser().parse_args(cmd)
    with own_words_only():
        # ESPnet says on import that flash_attn is missing.
        import espnet_mtasr.tasks.mtasr  # noqa: F401
    decoder, has_teacher, single_talker_epochs = "ctc", False, 0
    check_gpus(args.ngpu, compute=True)
    if args.inference_config is not None:
        decoding = decoding_options(args.inference_config, args.inference_args.split())
        decoder = decoding.decoder
        if decoding.num_talkers is not None:
            print(f"num_talkers {decoding.num_talkers}")
        if decoding.ngram == "true":
            print("ngram true")
    cached = args.cache_trunk == "true"
    if args.aligned_start is not None:
        from espnet_mtasr.model_zoo.model_files import check_source

        try:
            check_source(args.aligned_start)
        except UserError as e:
            raise UserError(f"--aligned_start: {e}") from e
    if args.phase1_config is not None:
        training = check_training(
            args.phase1_config, args.phase1_args.split(), args.task_options, cached
        )
        check_checkpoint("--phase1_model", args.phase1_model, training)
    if args.phase2_config is not None:
        from espnet_mtasr.mixture.drawn import mixing_options
        from espnet_mtasr.tasks.mtasr import MTASRTask
        from espnet_mtasr.tasks.seconds_batches import first_epochs

        training = check_training(
            args.phase2_config,
            args.phase2_args.split(),
            args.task_options,
            cached,
        )
        check_checkpoint(
            "--inference_mtasr_model", args.inference_mtasr_model, training
        )
        if args.draws == "true":
            mixing_options(training.preprocessor_conf)
        has_teacher = MTASRTask.has_teacher(training)
        first = first_epochs(training)
        if first is not None and first.get(1) == 1:
            later = [epoch for count, epoch in first.items() if count > 1]
            single_talker_epochs = min(later, default=1) - 1
    print(f"decoder {decoder}")
    print(f"phase2_has_teacher {str(has_teacher).lower()}")
    print(f"single_talker_epochs {single_talker_epochs}")


if __name__ == "__main__":
    run_command_line(main)
