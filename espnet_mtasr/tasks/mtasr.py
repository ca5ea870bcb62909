"""ESPnet2 task of multi-talker ASR: which classes there are, how they fit together."""

import argparse
import inspect
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np
import torch
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks import asr
from espnet2.tasks.abs_task import (
    IteratorOptions,
    optim_classes,
    scheduler_classes,
)
from espnet2.tasks.asr import ASRTask
from espnet2.train.preprocessor import AbsPreprocessor
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool
from typeguard import typechecked

from espnet_mtasr.asr.encoder.abs_routable import AbsTrunk
from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.asr.encoder.span_masking import build_masking
from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.separator.abs_separator import AbsSeparator
from espnet_mtasr.asr.separator.first_streams import FirstStreams
from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
from espnet_mtasr.asr.serialized_ctc import SerializedCTC
from espnet_mtasr.asr.talker_count_head import TalkerCountHead
from espnet_mtasr.asr.teacher.abs_teacher import AbsTeacher
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher
from espnet_mtasr.errors import UserError
from espnet_mtasr.open_choices import OpenChoices
from espnet_mtasr.tasks.cached_trunk import check_cached_training
from espnet_mtasr.tasks.dynamic_mixing import (
    check_dynamic_mixing,
    check_flat_start,
    recipes_of_recordings,
    tables_to_mix,
)
from espnet_mtasr.tasks.optimizer import grouped_optimizer
from espnet_mtasr.tasks.options import build, check_options, get_class
from espnet_mtasr.tasks.precision import check_precision
from espnet_mtasr.tasks.seconds_batches import (
    add_batch_options,
    build_seconds_iter_factory,
    check_batch_options,
)
from espnet_mtasr.tasks.trained import (
    check_resumable,
    load_exactly,
    read_checkpoint,
    read_train_config,
)
from espnet_mtasr.train.epochs import EpochTellingIterFactory
from espnet_mtasr.train.preprocessor import MTASRPreprocessor

frontend_choices = OpenChoices.opened(asr.frontend_choices)
specaug_choices = OpenChoices.opened(asr.specaug_choices)
normalize_choices = OpenChoices.opened(asr.normalize_choices)
encoder_choices = OpenChoices(
    "encoder",
    classes=dict(routed_wavlm=RoutedWavLMEncoder, routed_espnet=RoutedEspnetEncoder),
    type_check=RoutedEncoder,
    default="routed_wavlm",
)
separator_choices = OpenChoices(
    "separator",
    classes=dict(lstm=LSTMSeparator),
    type_check=AbsSeparator,
    default="lstm",
)
teacher_choices = OpenChoices(
    "teacher",
    classes=dict(llm=LLMTeacher),
    type_check=AbsTeacher,
    default=None,
    optional=True,
)
model_choices = OpenChoices(
    "model",
    classes=dict(mtasr=MTASRModel),
    type_check=MTASRModel,
    default="mtasr",
)
preprocessor_choices = OpenChoices(
    "preprocessor",
    classes=dict(mtasr=MTASRPreprocessor),
    type_check=AbsPreprocessor,
    default="mtasr",
)

# Options that come with ASRTask; to ignore them in silence would mislead.
UNUSED_OPTIONS = (
    "init",
    "ctc_conf",
    "joint_net_conf",
    "use_lang_prompt",
    "use_nlp_prompt",
    "aux_ctc_tasks",
)


class MTASRTask(ASRTask):
    """ASRTask with routed encoder, separators, serialized CTC, teacher, count head."""

    num_optimizers: int = 1
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
        group = parser.add_argument_group("Multi-talker ASR related")
        group.add_argument(
            "--talker_counts",
            type=int,
            nargs="+",
            default=[2, 3],
            help="Talker counts that the model knows; each has a branch of its own",
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
            "fits wins. e.g. encoder.branches: 0.1",
        )
        add_batch_options(group)
        group.add_argument(
            "--share_separator",
            type=str2bool,
            default=False,
            help="One separator for all talker counts (an ablation)",
        )

    @classmethod
    def required_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> Tuple[str, ...]:
        """`speech`, and in training the SOT `text`."""
        return ("speech",) if inference else ("speech", "text")

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> Tuple[str, ...]:
        """None: the preprocessor makes `text_spk1..N` of `text`."""
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
        options = dict(
            train=train,
            max_num_talkers=max(args.talker_counts),
            llm=args.teacher_conf.get("llm") if cls.has_teacher(args) else None,
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
            recipes=recipes_of_recordings(args) if train else None,
            seed=args.seed,
        )
        preprocessor_class = preprocessor_choices.get_class(args.preprocessor)
        return preprocessor_class(**{**options, **args.preprocessor_conf})

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """Build ESPnet's or, with `batch_seconds`, ours; it tells of each epoch."""
        if args.batch_seconds is not None and mode != "plot_att":
            factory = build_seconds_iter_factory(cls, args, iter_options, mode)
        else:
            factory = super().build_sequence_iter_factory(args, iter_options, mode)
        if isinstance(iter_options.preprocess_fn, MTASRPreprocessor):
            return EpochTellingIterFactory(factory, iter_options.preprocess_fn)
        return factory

    @classmethod
    def has_teacher(cls, args: argparse.Namespace) -> bool:
        """Say whether `args` build a teacher."""
        return args.teacher is not None and _weight(args, "ctc_weight") < 1.0

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
        check_options(TalkerCountHead, args.count_head_conf, "count_head_conf")
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
        defaults = cls.get_parser()
        for option in UNUSED_OPTIONS:
            if getattr(args, option) != defaults.get_default(option):
                raise UserError(f"{option}: is not used by this task; remove it")
        if _weight(args, "ctc_weight") < 1.0 and args.teacher is None:
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
        check_flat_start(args)

    @classmethod
    def _check_token_list(cls, args: argparse.Namespace) -> None:
        if args.token_list is None:
            raise UserError("--token_list is missing; name the file that stage 5 made")
        if isinstance(args.token_list, str) and not Path(args.token_list).is_file():
            raise UserError(
                f"--token_list {args.token_list}: no such file; run stage 5"
            )

    @classmethod
    def build_encoder(cls, args: argparse.Namespace, input_size: int) -> RoutedEncoder:
        """Build the encoder of `args`."""
        return build(
            encoder_choices,
            args,
            input_size=input_size,
            talker_counts=args.talker_counts,
        )

    @classmethod
    def build_separators(
        cls, args: argparse.Namespace, input_size: int
    ) -> Dict[int, AbsSeparator]:
        """Build a separator per talker count, or a view of one that all share."""

        def build_one(num_talkers: int) -> AbsSeparator:
            return build(
                separator_choices, args, input_size=input_size, num_talkers=num_talkers
            )

        # The config.yaml of an older training lacks the option.
        if getattr(args, "share_separator", False):
            shared = build_one(max(args.talker_counts))
            return {n: FirstStreams(shared, n) for n in args.talker_counts}
        return {n: build_one(n) for n in args.talker_counts}

    @classmethod
    def _count_input_size(cls, args: argparse.Namespace, trunk: AbsTrunk) -> int:
        if _model_option(args, "count_input") != "features":
            return trunk.output_size()
        size = trunk.features_size()
        if size is None:
            raise UserError(
                "model_conf: count_input: features, but this encoder's trunk gives "
                "none; set it to trunk"
            )
        return size

    @classmethod
    @typechecked
    def build_model(cls, args: argparse.Namespace) -> MTASRModel:
        """Build the model; parts that no loss uses are left out.

        What the encoder read from pretrained files is written into `args`, so that the
        config.yaml that ESPnet dumps afterwards rebuilds it without those files.
        """
        if not args.talker_counts or min(args.talker_counts) < 1:
            raise UserError(f"--talker_counts {args.talker_counts}: give counts from 1")
        args.talker_counts = sorted(set(args.talker_counts))
        cls._check_token_list(args)
        if isinstance(args.token_list, str):
            with open(args.token_list, encoding="utf-8") as f:
                args.token_list = [line.rstrip("\n") for line in f]
        if args.input_size is None:
            frontend = build(frontend_choices, args)
            input_size = frontend.output_size()
        else:
            args.frontend, args.frontend_conf = None, {}
            frontend, input_size = None, args.input_size
        encoder = cls.build_encoder(args, input_size)
        args.encoder_conf = {**args.encoder_conf, **encoder.conf_without_pretrained()}

        separator, ctc = None, None
        if _weight(args, "ctc_weight") > 0.0:
            separator = cls.build_separators(args, encoder.output_size())
            ctc = {
                n: SerializedCTC(len(args.token_list), part.output_size(), n)
                for n, part in separator.items()
            }
        teacher = None
        if cls.has_teacher(args):
            teacher = build(teacher_choices, args, input_size=encoder.output_size())
        count_head = None
        if _weight(args, "count_weight") > 0.0:
            check_options(TalkerCountHead, args.count_head_conf, "count_head_conf")
            count_head = TalkerCountHead(
                cls._count_input_size(args, encoder.trunk),
                len(args.talker_counts),
                **args.count_head_conf,
            )
        specaug = build(specaug_choices, args)
        normalize = build(normalize_choices, args)
        try:
            return build(
                model_choices,
                args,
                vocab_size=len(args.token_list),
                token_list=args.token_list,
                encoder=encoder,
                separator=separator,
                ctc=ctc,
                teacher=teacher,
                count_head=count_head,
                frontend=frontend,
                specaug=specaug,
                normalize=normalize,
            )
        except UserError:
            raise
        except ValueError as e:
            raise UserError(f"model_conf: {e}") from e

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> List[torch.optim.Optimizer]:
        """One optimizer of the trainable parameters, a group per `lr_scale` prefix."""
        return [grouped_optimizer(args, model)]

    @classmethod
    def build_model_from_file(
        cls,
        config_file: Optional[Union[Path, str]] = None,
        model_file: Optional[Union[Path, str]] = None,
        device: str = "cpu",
        with_teacher: bool = False,
    ) -> Tuple[MTASRModel, argparse.Namespace]:
        """Load a trained model, by default without its teacher.

        Args:
            config_file: config.yaml of the training; None: beside `model_file`.
            model_file: Checkpoint; None leaves the weights at random.
            device: `cpu`, `cuda`, `cuda:N`.
            with_teacher: Build the language model too.

        Raises:
            UserError: a file is missing, or the checkpoint lacks weights or has others
                than the model.
        """
        if config_file is None:
            if model_file is None:
                raise UserError("give a config file or a model file")
            config_file = Path(model_file).parent / "config.yaml"
        args = read_train_config(config_file)
        state = None
        if model_file is not None:
            state = read_checkpoint(model_file, with_teacher)
        if not with_teacher:
            args.teacher = None
        model = cls.build_model(args)
        if state is not None:
            load_exactly(model, state, model_file)
        return model.to(device), args


def _weight(args: argparse.Namespace, name: str) -> float:
    """A loss weight of `model_conf`, or the model's default."""
    return _model_option(args, name)


def _model_option(args: argparse.Namespace, name: str) -> Any:
    default = inspect.signature(MTASRModel).parameters[name].default
    return args.model_conf.get(name, default)
