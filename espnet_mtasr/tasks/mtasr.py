"""ESPnet2 task of multi-talker ASR: its classes, and how they fit together."""

import argparse
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.abs_task import (
    IteratorOptions,
    optim_classes,
    scheduler_classes,
)
from espnet2.tasks.asr import ASRTask
from espnet2.train.preprocessor import AbsPreprocessor
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from typeguard import suppress_type_checks, typechecked

from espnet_mtasr.asr.encoder.span_masking import build_masking
from espnet_mtasr.errors import UserError
from espnet_mtasr.open_choices import OpenChoices
from espnet_mtasr.tasks.building import (
    ModelBuilder,
    check_count_head,
    encoder_choices,
    frontend_choices,
    model_choices,
    model_option,
    normalize_choices,
    separator_choices,
    specaug_choices,
    teacher_choices,
    token_list_of,
)
from espnet_mtasr.tasks.cached_trunk import check_cached_training
from espnet_mtasr.tasks.dynamic_mixing import (
    check_dynamic_mixing,
    check_needs_of_specs,
    lengths_of_mixtures,
    specs_of_recordings,
    tables_to_mix,
)
from espnet_mtasr.tasks.init_param import told_misfits
from espnet_mtasr.tasks.optimizer import grouped_optimizer
from espnet_mtasr.tasks.options import check_options, get_class
from espnet_mtasr.tasks.precision import check_precision
from espnet_mtasr.tasks.seconds_batches import (
    add_batch_options,
    build_seconds_iter_factory,
    check_batch_options,
    first_epochs,
)
from espnet_mtasr.tasks.trained import check_resumable
from espnet_mtasr.tasks.unsupported import check_unsupported
from espnet_mtasr.text.tokenizer import TYPES_WITH_FILE, check_units
from espnet_mtasr.train.epochs import EpochAwareIterFactory
from espnet_mtasr.train.preprocessor import MTASRPreprocessor
from espnet_mtasr.train.trainer import MTASRTrainer

preprocessor_choices = OpenChoices(
    "preprocessor",
    classes=dict(mtasr=MTASRPreprocessor),
    type_check=AbsPreprocessor,
    default="mtasr",
)


class MTASRTask(ModelBuilder, ASRTask):
    """ASRTask with routed encoder, separators, serialized CTC, teacher, count head."""

    num_optimizers: int = 1
    trainer = MTASRTrainer
    class_choices_list = [
        frontend_choices,
        specaug_choices,
        normalize_choices,
        encoder_choices,
        separator_choices,
        teacher_choices,
        model_choices,
        preprocessor_choices,
    ]

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser):
        """Add ESPnet's ASR options and ours."""
        super().add_task_arguments(parser)
        # ESPnet's default normalizes features; on waveforms its mask is N x N samples.
        parser.set_defaults(normalize=None)
        # ESPnet's own is replaced by the last one: phase 1's model by a user's file.
        group = parser.add_argument_group(
            "Multi-talker ASR related", conflict_handler="resolve"
        )
        group.add_argument(
            "--init_param",
            type=str,
            nargs="*",
            action="extend",
            default=[],
            help="FILE[:SOURCE[:TARGET[:EXCLUDED]]] each: parts of models to start "
            "from. All of them add up, the configuration's first; if two have the same "
            "weights, the later one wins",
        )
        group.add_argument(
            "--talker_counts",
            type=int,
            nargs="+",
            default=[2, 3],
            help="Talker counts that the model knows; each has its own branch",
        )
        group.add_argument(
            "--count_head_conf",
            action=NestedDictAction,
            default=dict(),
            help="The keyword arguments for the talker-count head",
        )
        group.add_argument(
            "--lr_scale",
            action=NestedDictAction,
            default=dict(),
            help="Learning-rate factors by parameter-name prefix, the longest that "
            "match wins, e.g. encoder.branches: 0.1",
        )
        add_batch_options(group)
        group.add_argument(
            "--resume_anyway",
            type=str2bool,
            default=False,
            help="With --resume, continue even if settings that affect results differ",
        )
        group.add_argument(
            "--share_separator",
            type=str2bool,
            default=False,
            help="One separator for all talker counts (an ablation)",
        )

    @classmethod
    def get_parser(cls):
        """Return ESPnet's parser with our options; bad ones raise `UserError`."""
        parser = super().get_parser()

        def error(message: str) -> None:
            raise UserError(f"{message}; --help lists the options")

        parser.error = error
        return parser

    @classmethod
    def parse_config(
        cls, path: Union[str, Path], options: Sequence[str] = ()
    ) -> argparse.Namespace:
        """Read a training configuration, like the trainer does with more options.

        Raises:
            UserError: there is no such file, or an option is unknown or has a bad
                value.
        """
        return cls.get_parser().parse_args(["--config", str(path), *options])

    @classmethod
    def required_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> Tuple[str, ...]:
        """Return `speech`, and in training the SOT `text`."""
        return ("speech",) if inference else ("speech", "text")

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> Tuple[str, ...]:
        """Return nothing: the preprocessor makes `text_spk1..N` from `text`."""
        return ()

    @classmethod
    @typechecked
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Optional[Callable[[str, Dict[str, np.array]], Dict[str, np.ndarray]]]:
        """Return the preprocessor, or None with `use_preprocessor: false`."""
        if not args.use_preprocessor:
            return None
        cls._check_token_list(args)
        if args.token_type in TYPES_WITH_FILE and args.bpemodel is not None:
            check_units(args.token_type, args.bpemodel, token_list_of(args))
        teacher = get_class(teacher_choices, args) if cls.has_teacher(args) else None
        options = dict(
            train=train,
            max_num_talkers=max(args.talker_counts),
            llm=args.teacher_conf.get("llm") if teacher else None,
            llm_tokenizer=teacher.tokenizer_class if teacher else None,
            token_type=args.token_type,
            token_list=args.token_list,
            bpemodel=args.bpemodel,
            non_linguistic_symbols=args.non_linguistic_symbols,
            text_cleaner=args.cleaner,
            g2p_type=args.g2p,
            rir_scp=args.rir_scp,
            rir_apply_prob=args.rir_apply_prob,
            noise_scp=args.noise_scp,
            noise_apply_prob=args.noise_apply_prob,
            noise_db_range=args.noise_db_range,
            short_noise_thres=args.short_noise_thres,
            speech_volume_normalize=args.speech_volume_normalize,
            mixtures=tables_to_mix(args) if train else None,
            specs=specs_of_recordings(args) if train else None,
            talker_times=model_option(args, "activity_weight") > 0.0,
            first_epochs=first_epochs(args),
            seed=args.seed,
        )
        lengths = lengths_of_mixtures(args)
        if lengths:
            options["num_samples"] = lengths
        preprocessor_class = preprocessor_choices.get_class(args.preprocessor)
        return preprocessor_class(**{**options, **args.preprocessor_conf})

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """Build ESPnet's or, with `batch_seconds`, ours; it passes epochs on."""
        if args.batch_seconds is not None and mode != "plot_att":
            factory = build_seconds_iter_factory(cls, args, iter_options, mode)
        else:
            factory = super().build_sequence_iter_factory(args, iter_options, mode)
        if isinstance(iter_options.preprocess_fn, MTASRPreprocessor):
            return EpochAwareIterFactory(factory, iter_options.preprocess_fn)
        return factory

    @classmethod
    def check_args(cls, args: argparse.Namespace) -> None:
        """Find mistakes in a training configuration before anything is built.

        Raises:
            UserError: a class or an option doesn't exist, or a loss has no teacher.
        """
        for choices in cls.class_choices_list:
            class_obj = get_class(choices, args)
            if class_obj is not None:
                name = f"{choices.name}_conf"
                check_options(class_obj, getattr(args, name), name)
        check_count_head(args.count_head_conf)
        for option, classes in (
            ("optim", optim_classes),
            ("scheduler", scheduler_classes),
        ):
            name = getattr(args, option)
            if name is None:
                continue
            if name not in classes:
                raise UserError(f"{option}: {name}; choose one of {', '.join(classes)}")
            conf = getattr(args, f"{option}_conf")
            given = ("params", "optimizer")
            check_options(classes[name], conf, f"{option}_conf", given)
        check_unsupported(args, cls.get_parser())
        if model_option(args, "ctc_weight") < 1.0 and args.teacher is None:
            raise UserError(
                "teacher: is missing, a ctc_weight below 1 needs one; choose a teacher "
                "or set model_conf ctc_weight: 1.0"
            )
        build_masking(args.encoder_conf.get("branch_masking"))
        check_precision(args)
        check_batch_options(args)
        check_resumable(args)
        check_cached_training(args)
        check_dynamic_mixing(args)
        check_needs_of_specs(args)

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """Train in this process; see ESPnet's task."""
        # ESPnet's functions check argument types, even for every utterance and step.
        with suppress_type_checks(), told_misfits(args.init_param):
            super().main_worker(args)

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> List[torch.optim.Optimizer]:
        """Build one optimizer, with a parameter group per `lr_scale` prefix."""
        return [grouped_optimizer(args, model)]
