"""ESPnet2 task of multi-talker ASR: which classes there are, how they fit together."""

import argparse
import inspect
import logging
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np
import torch
import yaml
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.tasks.abs_task import optim_classes
from espnet2.tasks.asr import (
    ASRTask,
    frontend_choices,
    normalize_choices,
    specaug_choices,
)
from espnet2.torch_utils.safe_torch_load import safe_torch_load
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.class_choices import ClassChoices
from espnet2.train.preprocessor import AbsPreprocessor
from espnet2.utils.nested_dict_action import NestedDictAction
from typeguard import typechecked

from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.separator.abs_separator import AbsSeparator
from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
from espnet_mtasr.asr.serialized_ctc import SerializedCTC
from espnet_mtasr.asr.talker_count_head import TalkerCountHead
from espnet_mtasr.asr.teacher.abs_teacher import AbsTeacher
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher
from espnet_mtasr.errors import UserError
from espnet_mtasr.train.preprocessor import MTASRPreprocessor

encoder_choices = ClassChoices(
    "encoder",
    classes=dict(routed_wavlm=RoutedWavLMEncoder, routed_espnet=RoutedEspnetEncoder),
    type_check=AbsEncoder,
    default="routed_wavlm",
)
separator_choices = ClassChoices(
    "separator",
    classes=dict(lstm=LSTMSeparator),
    type_check=AbsSeparator,
    default="lstm",
)
teacher_choices = ClassChoices(
    "teacher",
    classes=dict(llm=LLMTeacher),
    type_check=AbsTeacher,
    default=None,
    optional=True,
)
model_choices = ClassChoices(
    "model",
    classes=dict(mtasr=MTASRModel),
    type_check=AbsESPnetModel,
    default="mtasr",
)
preprocessor_choices = ClassChoices(
    "preprocessor",
    classes=dict(mtasr=MTASRPreprocessor),
    type_check=AbsPreprocessor,
    default="mtasr",
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
        options = dict(
            train=train,
            max_num_talkers=max(args.talker_counts),
            llm=None if args.teacher is None else args.teacher_conf.get("llm"),
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
        )
        preprocessor_class = preprocessor_choices.get_class(args.preprocessor)
        return preprocessor_class(**{**options, **args.preprocessor_conf})

    @classmethod
    def build_encoder(
        cls, args: argparse.Namespace, input_size: int
    ) -> Union[RoutedWavLMEncoder, RoutedEspnetEncoder]:
        """Build the encoder of `args`."""
        return _build(
            encoder_choices,
            args,
            input_size=input_size,
            talker_counts=args.talker_counts,
        )

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
        if isinstance(args.token_list, str):
            path = Path(args.token_list)
            if not path.is_file():
                raise UserError(f"--token_list {path}: no such file; run stage 5")
            args.token_list = path.read_text(encoding="utf-8").splitlines()
        if args.input_size is None:
            frontend = _build(frontend_choices, args)
            input_size = frontend.output_size()
        else:
            args.frontend, args.frontend_conf = None, {}
            frontend, input_size = None, args.input_size
        encoder = cls.build_encoder(args, input_size)
        args.encoder_conf = {**args.encoder_conf, **encoder.conf_without_pretrained()}

        defaults = inspect.signature(MTASRModel).parameters
        ctc_weight = args.model_conf.get("ctc_weight", defaults["ctc_weight"].default)
        count_weight = args.model_conf.get(
            "count_weight", defaults["count_weight"].default
        )
        separator, ctc = None, None
        if ctc_weight > 0.0:
            separator = {
                n: _build(
                    separator_choices,
                    args,
                    input_size=encoder.output_size(),
                    num_talkers=n,
                )
                for n in args.talker_counts
            }
            ctc = {
                n: SerializedCTC(len(args.token_list), part.output_size(), n)
                for n, part in separator.items()
            }
        teacher = None
        if ctc_weight < 1.0 and args.teacher is not None:
            teacher = _build(teacher_choices, args, input_size=encoder.output_size())
        count_head = None
        if count_weight > 0.0:
            check_options(TalkerCountHead, args.count_head_conf, "count_head_conf")
            count_head = TalkerCountHead(
                encoder.trunk.output_size(),
                len(args.talker_counts),
                **args.count_head_conf,
            )
        try:
            return _build(
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
                specaug=_build(specaug_choices, args),
                normalize=_build(normalize_choices, args),
            )
        except ValueError as e:
            raise UserError(f"model_conf: {e}") from e

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> List[torch.optim.Optimizer]:
        """One optimizer of the trainable parameters, a group per `lr_scale` prefix."""
        names = [name for name, _ in model.named_parameters()]
        for option in ("freeze_param", "lr_scale"):
            for prefix in getattr(args, option):
                if not any(name.startswith(prefix) for name in names):
                    raise UserError(
                        f"{option}: no parameter is named {prefix}...; "
                        f"the parts are {sorted({n.split('.')[0] for n in names})}"
                    )
        groups: Dict[str, List[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                fitting = [p for p in args.lr_scale if name.startswith(p)]
                prefix = max(fitting, key=len, default="")
                groups.setdefault(prefix, []).append(parameter)
        if not groups:
            raise UserError("freeze_param: nothing is left to train; freeze less")
        lr = args.optim_conf.get("lr", 1e-3)
        return [
            optim_classes[args.optim](
                [
                    dict(params=parameters, lr=lr * args.lr_scale.get(prefix, 1.0))
                    for prefix, parameters in sorted(groups.items())
                ],
                **args.optim_conf,
            )
        ]

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
        for path in (config_file, model_file):
            if path is not None and not Path(path).is_file():
                raise UserError(f"{path}: no such file; train first or name another")
        with open(config_file, encoding="utf-8") as f:
            args = argparse.Namespace(**yaml.safe_load(f))
        if not with_teacher:
            args.teacher = None
        model = cls.build_model(args)
        if model_file is not None:
            state = safe_torch_load(model_file, map_location="cpu")
            if not with_teacher:
                state = {k: v for k, v in state.items() if not _is_teachers(k)}
            _load_exactly(model, state, model_file)
        return model.to(device), args


def _is_teachers(name: str) -> bool:
    return name.startswith("teacher.")


def _load_exactly(model: MTASRModel, state: Dict[str, Any], path) -> None:
    result = model.load_state_dict(state, strict=False)
    for problem, keys in (
        ("lacks", result.missing_keys),
        ("has surplus", result.unexpected_keys),
    ):
        if keys:
            raise UserError(
                f"{path}: {problem} {len(keys)} weights, {keys[0]} for one; "
                f"use the config.yaml that this checkpoint was trained with"
            )
    logging.info(f"loaded {path}")


def check_options(class_obj: type, conf: Dict[str, Any], name: str) -> None:
    """Raise UserError for a key that the constructor doesn't have."""
    known = inspect.signature(class_obj).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    unknown = sorted(set(conf) - set(known))
    if unknown:
        raise UserError(
            f"{name}: {class_obj.__name__} has no option {unknown[0]}; "
            f"it has {', '.join(known)}"
        )


def _build(choices: ClassChoices, args: argparse.Namespace, **parts: Any):
    """Build what `--NAME` and `--NAME_conf` say, or None."""
    class_obj = choices.get_class(getattr(args, choices.name))
    if class_obj is None:
        return None
    conf = getattr(args, f"{choices.name}_conf")
    check_options(class_obj, conf, f"{choices.name}_conf")
    return class_obj(**{**parts, **conf})
