"""ESPnet's trainer, with statistics per talker count weighted by their own rows.

ESPnet weights all statistics of a batch by the batch's rows. A mean over the rows of
one talker count must be weighted by those rows instead. Otherwise a batch with one of
them would count as much as a batch with twenty.

It stops if the training diverges (health.py), and writes files atomically
(checkpoints.py).
"""

import argparse
import dataclasses
import logging
import re
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

import torch
from espnet2.torch_utils.safe_torch_load import UnsafeLoadRefusedError
from espnet2.train.reporter import Reporter, SubReporter
from espnet2.train.trainer import Trainer, TrainerOptions
from espnet2.utils.build_dataclass import build_dataclass

from espnet_mtasr.asr.weights import check_weights, misfit
from espnet_mtasr.errors import UserError
from espnet_mtasr.train.checkpoints import keep_frozen, repair, whole_saves
from espnet_mtasr.train.curriculum import copy_lower_counts, curriculum_of
from espnet_mtasr.train.health import Health
from espnet_mtasr.train.silence import Silence

PART = re.compile(r"(?P<name>\w+_(?P<count>\d+)spk)_part")
SHARE = re.compile(r"share_(\d+)spk")


def split_per_count(
    stats: Mapping[str, Any], weight: Any
) -> Tuple[Dict[str, Any], Dict[str, Tuple[Any, Any]]]:
    """Turn the parts of talker counts into means of their own rows.

    Args:
        stats: From `MTASRModel.forward`, for one batch or averaged over processes.
        weight: Rows of the batch, over all processes.

    Returns:
        The statistics of all rows, and `NAME_Kspk` to (mean, rows). The mean is NaN if
        there are no such rows.
    """
    shares = {
        found[1]: share for name, share in stats.items() if (found := SHARE.match(name))
    }
    common: Dict[str, Any] = {}
    per_count: Dict[str, Tuple[Any, Any]] = {}
    for name, value in stats.items():
        if found := PART.fullmatch(name):
            share = shares[found["count"]]
            mean = value / share if share > 0 else float("nan")
            per_count[found["name"]] = (mean, share * weight)
        elif not SHARE.match(name):
            common[name] = value
    return common, per_count


def _register(
    register: Callable,
    stats: Mapping[str, Any],
    weight: Any = None,
    *,
    see: Callable[[Mapping[str, Tuple[Any, Any]]], None],
    health: Optional[Health] = None,
) -> None:
    if health is not None:
        health.see(stats, weight)
    common, per_count = split_per_count(stats, weight)
    see(per_count)
    register(common, weight)
    for name, (mean, rows) in per_count.items():
        register({name: mean}, rows)


@dataclasses.dataclass
class MTASRTrainerOptions(TrainerOptions):
    """ESPnet's options for a training, and ours.

    Attributes:
        talker_counts: Of the model.
        curriculum: See `Curriculum`; None: all talker counts from the first epoch on.
    """

    talker_counts: Any
    curriculum: Any


class MTASRTrainer(Trainer):
    """Trainer whose reporters know talker counts."""

    # Options of the running training, because `resume` doesn't get them.
    _trainer_options: Any = None
    _rank: Optional[int] = None
    _silence = Silence()

    @classmethod
    def build_options(cls, args: argparse.Namespace) -> MTASRTrainerOptions:
        """See ESPnet's trainer."""
        return build_dataclass(MTASRTrainerOptions, args)

    @classmethod
    def run(
        cls,
        model: torch.nn.Module,
        *args: Any,
        trainer_options: Any,
        distributed_option: Any,
        **kwargs: Any,
    ) -> None:
        """See ESPnet's trainer."""
        cls._trainer_options = trainer_options
        cls._rank = distributed_option.dist_rank
        cls._silence = Silence()
        with whole_saves():
            super().run(
                model,
                *args,
                trainer_options=trainer_options,
                distributed_option=distributed_option,
                **kwargs,
            )
            if cls._rank in (None, 0):
                keep_frozen(Path(trainer_options.output_dir), model)

    @classmethod
    def resume(
        cls,
        checkpoint: Union[str, Path],
        model: torch.nn.Module,
        reporter: Reporter,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """See ESPnet's trainer; epochs whose files are damaged are left out."""
        try:
            Trainer.resume(checkpoint, model, reporter, *args, **kwargs)
        except UnsafeLoadRefusedError as e:
            raise UserError(
                f"{checkpoint}: may run code, which ESPnet's checkpoints don't; remove "
                "it, and start again with --init_param"
            ) from e
        except RuntimeError as e:
            if "loading state_dict" not in str(e):
                raise
            raise UserError(
                f"{checkpoint}: doesn't fit the model ({misfit(e)}); train into "
                "another folder, with --init_param for weights to keep"
            ) from e
        best = cls._trainer_options.keep_nbest_models
        repair(
            Path(checkpoint).parent,
            model.state_dict(),
            reporter,
            cls._trainer_options.best_model_criterion,
            best if isinstance(best, int) else max([1, *best]),
            cls._rank in (None, 0),
        )

    @classmethod
    def train_one_epoch(
        cls,
        *,
        model: torch.nn.Module,
        reporter: SubReporter,
        options: MTASRTrainerOptions,
        **kwargs: Any,
    ) -> bool:
        """See ESPnet's trainer; makes a curriculum's copies before the first step.

        Raises:
            UserError: the training diverged.
        """
        curriculum = curriculum_of(options)
        if curriculum is not None:
            plain = getattr(model, "module", model)
            for said in copy_lower_counts(plain, curriculum, reporter.get_epoch()):
                logging.info(said)
        # Drop gradients of batches that didn't fill the previous epoch's last step: a
        # resumed training doesn't have them.
        model.zero_grad()
        health = Health()
        reporter.register = partial(
            _register, reporter.register, see=cls._silence.see_training, health=health
        )
        found = super().train_one_epoch(
            model=model, reporter=reporter, options=options, **kwargs
        )
        health.end()
        check_weights(
            model.named_parameters(),
            f"epoch {reporter.get_epoch()}",
            "lower the learning rate (optim_conf lr), and train into another folder",
        )
        return found

    @classmethod
    def validate_one_epoch(
        cls, *args: Any, reporter: SubReporter, **kwargs: Any
    ) -> None:
        """See ESPnet's trainer; warns of streams that write nothing."""
        see = cls._silence.see_validation
        reporter.register = partial(_register, reporter.register, see=see)
        super().validate_one_epoch(*args, reporter=reporter, **kwargs)
        lines = cls._silence.report()
        if cls._rank in (None, 0):
            for line in lines:
                logging.warning(line)
