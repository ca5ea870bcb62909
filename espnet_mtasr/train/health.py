"""Detect a diverged training by counting losses and gradients that are not finite.

ESPnet skips a step whose gradient isn't finite, logs it and continues. So a diverged
training ends with exit code 0 and its last checkpoints as the best.
"""

import logging
from typing import Any, Mapping

import torch

from espnet_mtasr.errors import UserError

# A training that recovers, for example from a too large scale of mixed precision, does
# so in fewer steps.
PATIENCE = 50


class Health:
    """Counts what goes wrong in an epoch.

    Attributes:
        losses: Batches with rows to learn from.
        bad_losses: Those whose loss was not finite.
        steps: Steps with rows to learn from, including skipped ones.
        skipped: Steps whose gradient was not finite.
        skipped_last: Number of consecutive skipped steps at the end so far.
    """

    def __init__(self) -> None:
        self.losses = self.bad_losses = 0
        self.steps = self.skipped = self.skipped_last = 0
        self._taken = self._has_rows = False

    def see(self, stats: Mapping[str, Any], weight: Any) -> None:
        """Count what ESPnet's trainer registers, a batch or a step.

        Raises:
            UserError: too many steps in a row were skipped.
        """
        if "loss" in stats and weight is not None and float(weight) >= 1:
            self._has_rows = True
            self.losses += 1
            self.bad_losses += not torch.isfinite(torch.as_tensor(stats["loss"]))
        if "grad_norm" in stats:
            self._taken = True
        # If no rows can be aligned on any rank, a step doesn't count.
        if "train_time" in stats and self._has_rows:
            self.steps += 1
            self.skipped += not self._taken
            self.skipped_last = 0 if self._taken else self.skipped_last + 1
            self._taken = self._has_rows = False
            if self.skipped_last >= PATIENCE:
                raise UserError(
                    f"the training diverged: the gradients of the last {PATIENCE} "
                    f"steps are not finite; lower the learning rate (optim_conf lr), "
                    f"and train into another folder"
                )

    def end(self) -> None:
        """Report the epoch; `UserError` if nothing was learned at its end."""
        if self.bad_losses or self.skipped:
            logging.warning(
                f"{self.bad_losses} of {self.losses} losses and {self.skipped} of "
                f"{self.steps} gradients were not finite in this epoch"
            )
        if self.steps and self.skipped == self.steps:
            raise UserError(
                "the training diverged: no gradient of this epoch is finite; lower the "
                "learning rate (optim_conf lr), and train into another folder"
            )
