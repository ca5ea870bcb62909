"""onnx.json: the contents of an exported model's folder."""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Optional, Sequence, Union

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole

FILE_NAME = "onnx.json"
EXTRA = "onnx"
FORMAT = 1
QUANTIZATIONS = ("none", "int8")


@dataclass(frozen=True)
class Manifest:
    """What `OnnxModel` must know of its graphs.

    Attributes:
        trunk: File of the trunk and the talker-count head.
        branches: Talker count to file of branch, separator and CTC.
        min_samples: Shorter waveforms are padded to this many samples.
        quantization: One of `QUANTIZATIONS`.
        opset: Version of ONNX's operators.
        sizes: Bytes of each file.
        versions: Of the packages that wrote the graphs.
        max_samples: Of waveforms that the trunk can read; None: any length.
    """

    trunk: str
    branches: Dict[int, str]
    min_samples: int
    quantization: str
    opset: int
    sizes: Dict[str, int]
    versions: Dict[str, str]
    max_samples: Optional[int] = None

    def write(self, path: Path) -> None:
        """Write the file, whole."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=2)
        write_whole(path, content + "\n")

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read the file.

        Raises:
            UserError: it is missing, damaged or of another format.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; export the model or give another")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            written_in = content.pop("format")
            branches = {int(k): file for k, file in content.pop("branches").items()}
            manifest = cls(branches=branches, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise UserError(
                f"{path}: is damaged or doesn't describe an exported model; "
                f"export the model again"
            ) from e
        if written_in != FORMAT:
            raise UserError(
                f"{path}: has format {written_in}, this version reads {FORMAT}; "
                f"export the model again"
            )
        return manifest


def is_of_checkpoint(name: str, model_file: Union[Path, str]) -> bool:
    """Whether `model_file` is the checkpoint `name`, exported or not.

    Packing changes the suffix.
    """
    return is_onnx(model_file) or Path(name).stem == Path(model_file).stem


def is_onnx(model_file: Optional[Union[Path, str]]) -> bool:
    """Say whether a model file is an exported model's onnx.json."""
    return model_file is not None and Path(model_file).name == FILE_NAME


def check_installed(packages: Sequence[str]) -> None:
    """Raise `UserError` if one of the packages is missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not installed; "
            f"run pip install 'espnet_mtasr[{EXTRA}]'"
        )
