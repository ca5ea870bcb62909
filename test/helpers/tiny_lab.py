"""Trainings of both phases on a handful of made-up mixtures."""

from helpers.tiny_data import (
    make_tiny_data,
    phase_config,
    training_options,
    write_config,
)
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.bin.mtasr_train import main


class Lab:
    """A folder with pretrained models, data and configurations of both phases."""

    def __init__(self, root):
        self.root = root
        self.encoder = make_tiny_wavlm(root / "encoder")
        self.llm = make_tiny_llm(root / "llm")
        self.data = make_tiny_data(root / "data", self.llm, copies=2)
        self.configs = {
            phase: write_config(
                root / f"phase{phase}.yaml",
                phase_config(self.encoder, self.llm, phase),
            )
            for phase in (1, 2)
        }

    def options(self, phase, name, *options):
        return [
            *("--config", str(self.configs[phase])),
            *("--output_dir", str(self.root / name)),
            *training_options(self.data),
            *options,
        ]

    def train(self, phase, name, *options):
        main(self.options(phase, name, *options))
        return self.root / name

    def phase2_init(self):
        model = self.root / "phase1" / "valid.loss_sot.ave.pth"
        return ["--init_param", f"{model}:encoder:encoder", f"{model}:teacher:teacher"]
