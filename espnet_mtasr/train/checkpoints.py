"""Atomic checkpoints, and repair of a training that was killed.

ESPnet writes checkpoint.pth, then Nepoch.pth, both in place, and averages the best
epochs at the end.
"""

import logging
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

import torch
from espnet2.train.reporter import Reporter

from espnet_mtasr.asr.weights import check_weights, read_weights
from espnet_mtasr.errors import UserError


@contextmanager
def whole_saves() -> Iterator[None]:
    """Make `torch.save` write files atomically in this context."""
    save = torch.save

    def save_whole(obj: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(f, (str, os.PathLike)):
            return save(obj, f, *args, **kwargs)
        part = f"{os.fspath(f)}.part"
        save(obj, part, *args, **kwargs)
        os.replace(part, f)

    torch.save = save_whole
    try:
        yield
    finally:
        torch.save = save


def repair(
    folder: Path,
    weights: Dict[str, torch.Tensor],
    reporter: Reporter,
    criteria: Sequence[Tuple[str, str, str]],
    num_best: int,
    writes: bool = True,
) -> None:
    """Make sure that the files of all epochs to average are good.

    If the last epoch's is damaged, it is written again, because checkpoint.pth has the
    same weights. Others are renamed and removed from the reporter, which then has other
    best epochs. The log says all of this. Links to the latest and the best epoch are
    fixed.

    Args:
        folder: Of the training.
        weights: Those of checkpoint.pth.
        reporter: The one in checkpoint.pth.
        criteria: ESPnet's `best_model_criterion`.
        num_best: Number of epochs to average.
        writes: Whether this process writes; other processes reach the same result.
    """
    # Files may be large: each is read once.
    problem_of_epoch = cache(lambda epoch: problem_of(epoch_file(folder, epoch)))
    last = reporter.get_epoch()
    if writes:
        path = epoch_file(folder, last)
        problem = problem_of_epoch(last)
        if problem is not None:
            logging.warning(f"{problem}; written again from checkpoint.pth")
            torch.save(weights, path)
    for phase, name, mode in criteria:
        while reporter.has(phase, name):
            best = reporter.sort_epochs(phase, name, mode)[:num_best]
            bad = [e for e in best if e != last and problem_of_epoch(e)]
            if not bad:
                break
            for epoch in bad:
                path = epoch_file(folder, epoch)
                logging.warning(f"{problem_of_epoch(epoch)}; excluded from the average")
                reporter.stats.pop(epoch)
                if writes and path.exists():
                    os.replace(path, path.with_suffix(".broken"))
    if writes:
        _link(folder / "latest.pth", last)
        for phase, name, mode in criteria:
            if reporter.has(phase, name):
                best_epoch = reporter.get_best_epoch(phase, name, mode)
                _link(folder / f"{phase}.{name}.best.pth", best_epoch)


def keep_frozen(folder: Path, model: torch.nn.Module) -> None:
    """Write the model's frozen weights into the averages of its epochs.

    They are the same in all epochs, but a sum divided by three or more is rounded. Then
    a trunk's cached outputs would be those of another trunk.

    Args:
        folder: Of the training.
        model: After its last epoch.
    """
    frozen = {
        name: parameter.detach().cpu()
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
    for path in folder.glob("*.ave_*best.pth"):
        if path.is_symlink() or not frozen:
            continue
        weights = read_weights(path)
        rounded = [
            name
            for name in frozen.keys() & weights.keys()
            if not torch.equal(frozen[name], weights[name])
        ]
        if rounded:
            torch.save({**weights, **{n: frozen[n] for n in rounded}}, path)


def _link(link: Path, epoch: int) -> None:
    """Point ESPnet's link to an epoch's file, in case a kill prevented it."""
    target = epoch_file(link.parent, epoch).name
    if not link.is_symlink() or os.readlink(link) != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def epoch_file(folder: Path, epoch: int) -> Path:
    """Return where ESPnet writes an epoch's weights."""
    return folder / f"{epoch}epoch.pth"


def problem_of(path: Path) -> Optional[str]:
    """Return what is wrong with a file of weights; None: nothing."""
    if not path.is_file():
        return f"{path}: is missing"
    try:
        check_weights(read_weights(path).items(), path, "train again")
    except UserError as e:
        return str(e)
    return None
