"""ESPnet's trainer, with statistics per talker count weighted by their own rows.

ESPnet weighs all statistics of a batch by the batch's rows. A mean over the rows of one
talker count must be weighed by those rows instead: a batch with one of them would count
as much as a batch with twenty.
"""

import re
from functools import partial
from typing import Any, Callable, Dict, Mapping, Tuple

from espnet2.train.reporter import SubReporter
from espnet2.train.trainer import Trainer

PART = re.compile(r"(?P<name>\w+_(?P<count>\d+)spk)_part")
SHARE = re.compile(r"share_(\d+)spk")


def split_per_count(
    stats: Mapping[str, Any], weight: Any
) -> Tuple[Dict[str, Any], Dict[str, Tuple[Any, Any]]]:
    """Turn the parts of talker counts into means of their own rows.

    Args:
        stats: Of `MTASRModel.forward`; of one batch or averaged over processes.
        weight: Rows of the batch, of all processes.

    Returns:
        The statistics of all rows, and `NAME_Kspk` to (mean, rows). The mean is NaN
        where there are no such rows.
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


def _register(register: Callable, stats: Mapping[str, Any], weight: Any = None) -> None:
    common, per_count = split_per_count(stats, weight)
    register(common, weight)
    for name, (mean, rows) in per_count.items():
        register({name: mean}, rows)


class MTASRTrainer(Trainer):
    """Trainer whose reporters know talker counts."""

    @classmethod
    def train_one_epoch(cls, *args: Any, reporter: SubReporter, **kwargs: Any) -> bool:
        """See ESPnet's trainer."""
        reporter.register = partial(_register, reporter.register)
        return super().train_one_epoch(*args, reporter=reporter, **kwargs)

    @classmethod
    def validate_one_epoch(
        cls, *args: Any, reporter: SubReporter, **kwargs: Any
    ) -> None:
        """See ESPnet's trainer."""
        reporter.register = partial(_register, reporter.register)
        super().validate_one_epoch(*args, reporter=reporter, **kwargs)
