"""Build a model from a configuration or a training's files, without ESPnet's task.

espnet2.tasks.asr imports everything that a training may use, which takes seconds;
decoding only needs the parts of one model.
"""

import argparse
import inspect
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.abs_normalize import AbsNormalize
from typeguard import typechecked

from espnet_mtasr.asr.encoder.abs_routable import AbsTrunk
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.separator.abs_separator import AbsSeparator
from espnet_mtasr.asr.separator.first_streams import FirstStreams
from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
from espnet_mtasr.asr.serialized_ctc import SerializedCTC
from espnet_mtasr.asr.talker_count_head import TalkerCountHead
from espnet_mtasr.asr.teacher.abs_teacher import AbsTeacher
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import find_beside, find_folder_above
from espnet_mtasr.open_choices import LazyChoices, OpenChoices
from espnet_mtasr.tasks.options import build, check_options
from espnet_mtasr.tasks.trained import (
    load_exactly,
    read_checkpoint,
    read_train_config,
)
from espnet_mtasr.trust import check_settings, trusting

# These of ESPnet's classes are loaded without the others.
frontend_choices = LazyChoices(
    "frontend",
    dict(default="espnet2.asr.frontend.default:DefaultFrontend"),
    AbsFrontend,
    default="default",
    others="espnet2.tasks.asr",
)
specaug_choices = LazyChoices(
    "specaug",
    dict(specaug="espnet2.asr.specaug.specaug:SpecAug"),
    AbsSpecAug,
    others="espnet2.tasks.asr",
)
normalize_choices = LazyChoices(
    "normalize",
    dict(
        global_mvn="espnet2.layers.global_mvn:GlobalMVN",
        utterance_mvn="espnet2.layers.utterance_mvn:UtteranceMVN",
    ),
    AbsNormalize,
    default="utterance_mvn",
    optional=True,
    others="espnet2.tasks.asr",
)
encoder_choices = LazyChoices(
    "encoder",
    dict(
        routed_wavlm="espnet_mtasr.asr.encoder.wavlm:RoutedWavLMEncoder",
        routed_wav2vec2="espnet_mtasr.asr.encoder.wav2vec2:RoutedWav2Vec2Encoder",
        routed_whisper="espnet_mtasr.asr.encoder.whisper:RoutedWhisperEncoder",
        routed_espnet="espnet_mtasr.asr.encoder.espnet_halves:RoutedEspnetEncoder",
    ),
    RoutedEncoder,
    default="routed_wavlm",
)
separator_choices = OpenChoices(
    "separator",
    classes=dict(lstm=LSTMSeparator),
    type_check=AbsSeparator,
    default="lstm",
)
teacher_choices = LazyChoices(
    "teacher",
    dict(
        llm="espnet_mtasr.asr.teacher.llm_teacher:LLMTeacher",
        whisper="espnet_mtasr.asr.teacher.whisper_teacher:WhisperTeacher",
    ),
    AbsTeacher,
)
model_choices = OpenChoices(
    "model",
    classes=dict(mtasr=MTASRModel),
    type_check=MTASRModel,
    default="mtasr",
)


class ModelBuilder:
    """How the parts of `MTASRModel` fit together."""

    @classmethod
    def has_teacher(cls, args: argparse.Namespace) -> bool:
        """Return whether `args` build a teacher."""
        return args.teacher is not None and model_option(args, "ctc_weight") < 1.0

    @classmethod
    def _check_token_list(cls, args: argparse.Namespace) -> None:
        if args.token_list is None:
            raise UserError("--token_list is missing; give the file that stage 5 made")
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
        if model_option(args, "count_input") != "features":
            return trunk.output_size()
        size = trunk.features_size()
        if size is None:
            raise UserError(
                "model_conf: count_input: features, but this encoder's trunk has none; "
                "set it to trunk"
            )
        return size

    @classmethod
    @typechecked
    def build_model(cls, args: argparse.Namespace) -> MTASRModel:
        """Build the model, without parts that no loss uses.

        What the encoder reads from pretrained files is written into `args`, so the
        config.yaml that ESPnet writes afterwards rebuilds it without those files.
        """
        if not args.talker_counts or min(args.talker_counts) < 1:
            raise UserError(f"--talker_counts {args.talker_counts}: give counts from 1")
        args.talker_counts = sorted(set(args.talker_counts))
        cls._check_token_list(args)
        args.token_list = token_list_of(args)
        if args.input_size is None:
            frontend = build(frontend_choices, args)
            input_size = frontend.output_size()
        else:
            args.frontend, args.frontend_conf = None, {}
            frontend, input_size = None, args.input_size
        encoder = cls.build_encoder(args, input_size)
        args.encoder_conf = {**args.encoder_conf, **encoder.conf_without_pretrained()}

        separator, ctc = None, None
        if model_option(args, "ctc_weight") > 0.0:
            separator = cls.build_separators(args, encoder.output_size())
            ctc = {
                n: SerializedCTC(len(args.token_list), part.output_size(), n)
                for n, part in separator.items()
            }
        teacher = None
        if cls.has_teacher(args):
            teacher = build(teacher_choices, args, input_size=encoder.output_size())
        count_head = None
        if model_option(args, "count_weight") > 0.0:
            check_count_head(args.count_head_conf)
            count_head = TalkerCountHead(
                cls._count_input_size(args, encoder.trunk),
                len(args.talker_counts),
                num_activities=(
                    max(args.talker_counts)
                    if model_option(args, "activity_weight") > 0.0
                    else 0
                ),
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
    def build_model_from_file(
        cls,
        config_file: Optional[Union[Path, str]] = None,
        model_file: Optional[Union[Path, str]] = None,
        device: str = "cpu",
        with_teacher: bool = False,
        trust_remote_code: bool = False,
    ) -> Tuple[MTASRModel, argparse.Namespace]:
        """Load a trained model, by default without its teacher.

        Args:
            config_file: config.yaml of the training; None: beside `model_file`.
            model_file: Checkpoint; None leaves the weights at random.
            device: `cpu`, `cuda`, `cuda:N`.
            with_teacher: Build the language model too.
            trust_remote_code: Allow the configuration to name any class, and models to
                read; see `trust`.

        Raises:
            UserError: a file is missing, the checkpoint's weights aren't the model's,
                or the configuration names code that isn't trusted.
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
        elif (args.teacher_conf or {}).get("llm") is not None:
            folder = Path(config_file).absolute().parent
            # A packed model has only the tokenizer, beside its weights.
            packed = args.teacher_conf.get("llm_conf") is not None
            find = find_beside if packed else find_folder_above
            llm = find(str(args.teacher_conf["llm"]), folder)
            args.teacher_conf = {**args.teacher_conf, "llm": llm}
        with trusting(trust_remote_code):
            check_settings(args)
            model = cls.build_model(args)
        if state is not None:
            load_exactly(model, state, model_file)
        return model.to(device), args


def token_list_of(args: argparse.Namespace) -> List[str]:
    """Return the CTC tokens; a training's options give them as a file."""
    if not isinstance(args.token_list, str):
        return args.token_list
    with open(args.token_list, encoding="utf-8") as f:
        return [line.rstrip("\n") for line in f]


def check_count_head(conf: Mapping[str, Any]) -> None:
    """Raise `UserError` for an option that the talker-count head doesn't have."""
    given = ("input_size", "num_counts", "num_activities")
    check_options(TalkerCountHead, conf, "count_head_conf", given)


def model_option(args: argparse.Namespace, name: str) -> Any:
    """Return an option of `model_conf`, such as a loss weight, or its default."""
    default = inspect.signature(MTASRModel).parameters[name].default
    return args.model_conf.get(name, default)
