"""The cases: which command meets which fault, and what must come of it.

A case's name says what is wrong. `says` is a regular expression for the one line of the
error, which must name the file and the fix.
"""

from dataclasses import dataclass
from typing import Any, Dict, List

from faults import damage
from faults.damage import Damage


@dataclass(frozen=True)
class Case:
    """A fault in a file of a model, and what every command that loads it says."""

    name: str
    file: str
    fault: Damage
    says: str


@dataclass(frozen=True)
class Untrusted:
    """A configuration that names what only a trusted model may.

    `entries` are its changed ones; `says` follows on the name of the option.
    """

    name: str
    entries: Dict[str, Any]
    says: str


@dataclass(frozen=True)
class BadRecording:
    """A recording among good ones: it fails with one line, and the others go on.

    `name` is that of its file, as bytes where it isn't UTF-8.
    """

    name: str
    file: bytes
    fault: Damage
    says: str


@dataclass(frozen=True)
class BadList:
    """A list of mixtures with a bad name or path: nothing is made of it.

    `changes` are columns or fields of its only mixture.
    """

    name: str
    file: str
    changes: Dict[str, Any]
    says: str


@dataclass(frozen=True)
class LeftByAKill:
    """What a training of two epochs is found like when its command is run again.

    `average` is the file whose weights the average must then have: `the same` as
    without the fault, or an epoch's.
    """

    name: str
    file: str
    fault: Damage
    average: str
    says: str


@dataclass(frozen=True)
class BadStart:
    """A file that a training is to start from, and the part that it wants of it."""

    name: str
    fault: Damage
    says: str
    part: str = "encoder"


DAMAGED = "is damaged or not a sentencepiece model; copy it again"
NO_CHECKPOINT = "is damaged or not a checkpoint with only weights .*; give another"
DIVERGED = "its training diverged; name another"
NO_CONFIG = "is not the configuration of a trained model"

MODEL_FAULTS: List[Case] = [
    Case("units cut to 90 %", "bpe.model", damage.cut(0.9), DAMAGED),
    Case("units cut to a half", "bpe.model", damage.cut(0.5), DAMAGED),
    Case("units cut to 5 %", "bpe.model", damage.cut(0.05), DAMAGED),
    Case("units empty", "bpe.model", damage.replaced(b""), DAMAGED),
    Case("units are text", "bpe.model", damage.replaced(b"hello\n"), DAMAGED),
    Case(
        "units of another model",
        "bpe.model",
        damage.other_units,
        "belongs to another model",
    ),
    Case("units missing", "bpe.model", damage.missing, "bpe.model: no such file"),
    Case("checkpoint cut", "model.pth", damage.cut(0.5), NO_CHECKPOINT),
    Case("checkpoint empty", "model.pth", damage.replaced(b""), NO_CHECKPOINT),
    Case("checkpoint is text", "model.pth", damage.replaced(b"hi\n"), NO_CHECKPOINT),
    Case("checkpoint runs code", "model.pth", damage.pickled_code, NO_CHECKPOINT),
    Case("checkpoint is a pickle", "model.pth", damage.plain_pickle, NO_CHECKPOINT),
    Case("a weight is NaN", "model.pth", damage.one_weight(float("nan")), DIVERGED),
    Case(
        "a weight is infinite", "model.pth", damage.one_weight(float("-inf")), DIVERGED
    ),
    Case("a weight is 1.5e7", "model.pth", damage.one_weight(1.5e7), DIVERGED),
    Case(
        "checkpoint lacks a weight",
        "model.pth",
        damage.weights(lambda state: dict(list(state.items())[1:])),
        r"missing weights \(1, for example .*; use the config.yaml",
    ),
    Case(
        "checkpoint has one more weight",
        "model.pth",
        damage.weights(lambda state: {**state, "more": torch_one()}),
        r"unexpected weights \(1, for example more\); use the config.yaml",
    ),
    Case(
        "checkpoint holds no model",
        "model.pth",
        damage.weights(lambda state: [1]),
        "model.pth: has no model; give a checkpoint",
    ),
    Case("configuration empty", "config.yaml", damage.replaced(b""), NO_CONFIG),
    Case("configuration no YAML", "config.yaml", damage.replaced(b"a: ["), NO_CONFIG),
    Case("configuration a list", "config.yaml", damage.replaced(b"- a\n"), NO_CONFIG),
    Case(
        "configuration lacks token_list",
        "config.yaml",
        damage.without("token_list"),
        "config.yaml: lacks token_list; name the config.yaml that the training wrote",
    ),
    Case(
        "configuration lacks talker_counts",
        "config.yaml",
        damage.without("talker_counts"),
        "config.yaml: lacks talker_counts; name the config.yaml",
    ),
    Case(
        "configuration lacks model_conf",
        "config.yaml",
        damage.without("model_conf"),
        "config.yaml: lacks model_conf; name the config.yaml",
    ),
    Case(
        "a token stands twice",
        "config.yaml",
        damage.config(lambda c: c["token_list"].__setitem__(3, c["token_list"][2])),
        "config.yaml: token_list has '.*' twice",
    ),
    Case(
        "tokens lack <unk>",
        "config.yaml",
        damage.config(lambda c: c["token_list"].__setitem__(1, "<other>")),
        "config.yaml: token_list lacks <unk>",
    ),
]

UNREADABLE = "is not readable audio .*; replace it"
NO_NUMBERS = "has NaN or infinite samples; replace it"
NO_RATE = "Hz; replace it"

BAD_RECORDINGS: List[BadRecording] = [
    BadRecording("empty", b"bad.wav", damage.replaced(b""), UNREADABLE),
    BadRecording("text", b"bad.wav", damage.replaced(b"hello"), UNREADABLE),
    BadRecording("four bytes", b"bad.wav", damage.replaced(b"RIFF"), UNREADABLE),
    BadRecording("no samples", b"bad.wav", damage.no_samples, "has no samples"),
    BadRecording("NaN", b"bad.wav", damage.samples_of(float("nan")), NO_NUMBERS),
    BadRecording("infinite", b"bad.wav", damage.samples_of(float("inf")), NO_NUMBERS),
    BadRecording("1e38", b"bad.wav", damage.samples_of(1e38), "samples are too large"),
    BadRecording("2^31 - 1 Hz", b"bad.wav", damage.wav_of_rate(2**31 - 1), NO_RATE),
    BadRecording("1 Hz", b"bad.wav", damage.wav_of_rate(1), NO_RATE),
    BadRecording("2^36 samples", b"bad.flac", damage.flac_of_many_samples, UNREADABLE),
    BadRecording("link to nothing", b"bad.wav", damage.link_to_nothing, "no such file"),
    BadRecording(
        "not UTF-8, and text",
        b"bad\xe4.wav",
        damage.replaced(b"hello"),
        "bad\ufffd.wav: " + UNREADABLE,
    ),
]

NO_NAME = "can't name a file; use letters, digits, '-', '_' and '.'"
LEADS_OUT = "leaves .*; give a path below it, without '..'"


def bad_cell(column: str, value: str, says: str) -> BadList:
    """A cell of a CSV list."""
    where = f"m.csv:2: {column} '"
    return BadList(f"{column} {value[:20]!r}", "m.csv", {column: value}, where + says)


LIST_FAULTS: List[BadList] = [
    *(
        bad_cell("mixture_ID", name, f".*{NO_NAME}")
        for name in ("../../x", "/tmp/x", "a/b", "..", ".", "a\\b", "a\x1bb", "x" * 230)
    ),
    *(
        bad_cell(column, path, f".*{LEADS_OUT}")
        for column in ("source_1_path", "source_2_path", "noise_path")
        for path in ("../../secret.flac", "/etc/hostname", "tt/../../../secret.wav")
    ),
    BadList("jsonl id '..'", "m.jsonl", {"id": ".."}, f"m.jsonl:1: id .*{NO_NAME}"),
    BadList(
        "jsonl wavs lead out",
        "m.jsonl",
        {"wavs": ["../../secret.flac", "test-clean/12/7/12-7-0002.flac"]},
        f"m.jsonl:1: wavs .*{LEADS_OUT}",
    ),
    BadList(
        "jsonl wavs absolute",
        "m.jsonl",
        {"wavs": ["/etc/hostname", "test-clean/12/7/12-7-0002.flac"]},
        f"m.jsonl:1: wavs .*{LEADS_OUT}",
    ),
]

AGAIN = "written again from checkpoint.pth"
LEFT_OUT = "excluded from the average"

LEFT_BY_A_KILL: List[LeftByAKill] = [
    LeftByAKill("last missing", "2epoch.pth", damage.missing, "the same", AGAIN),
    LeftByAKill("last cut", "2epoch.pth", damage.cut(0.5), "the same", AGAIN),
    LeftByAKill("last empty", "2epoch.pth", damage.replaced(b""), "the same", AGAIN),
    LeftByAKill("first missing", "1epoch.pth", damage.missing, "2epoch.pth", LEFT_OUT),
    LeftByAKill("first cut", "1epoch.pth", damage.cut(0.5), "2epoch.pth", LEFT_OUT),
    LeftByAKill(
        "first is NaN",
        "1epoch.pth",
        damage.first_weight(float("nan")),
        "2epoch.pth",
        LEFT_OUT,
    ),
    LeftByAKill(
        "first is 1.5e7",
        "1epoch.pth",
        damage.first_weight(1.5e7),
        "2epoch.pth",
        LEFT_OUT,
    ),
    LeftByAKill("latest missing", "latest.pth", damage.missing, "the same", ""),
    LeftByAKill(
        "a part left", "2epoch.pth.part", damage.replaced(b"x"), "the same", ""
    ),
]


@dataclass(frozen=True)
class Form:
    """A kind of audio file, in libsndfile's words."""

    format: str
    subtype: str
    suffix: str

    def __str__(self) -> str:
        return f"{self.format} {self.subtype}"


def formats() -> List[Form]:
    """Kinds of files that libsndfile reads to where they break off."""
    return [
        Form("WAV", "PCM_16", ".wav"),
        Form("WAV", "PCM_24", ".wav"),
        Form("WAV", "ULAW", ".wav"),
        Form("WAVEX", "PCM_16", ".wav"),
        Form("AIFF", "PCM_16", ".aiff"),
        Form("W64", "PCM_16", ".w64"),
        Form("RF64", "PCM_16", ".rf64"),
        Form("CAF", "PCM_16", ".caf"),
        Form("AU", "PCM_16", ".au"),
        Form("OGG", "VORBIS", ".ogg"),
        Form("OGG", "OPUS", ".opus"),
        Form("MP3", "MPEG_LAYER_III", ".mp3"),
    ]


def can_be_written(form: Form) -> bool:
    """Say if this libsndfile has a codec."""
    import soundfile

    known = soundfile.available_formats()
    return form.format in known and form.subtype in soundfile.available_subtypes(
        form.format
    )


WRITTEN_TO_A_PIPE = (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF)


def torch_one():
    """A weight that no model has."""
    import torch

    return torch.ones(1)


def espnet_encoder(**conf: Any) -> Dict[str, Any]:
    """The entries of a model with ESPnet's encoders."""
    return dict(
        encoder="routed_espnet", encoder_conf=conf, input_size=None, frontend="default"
    )


NEITHER = "is not part of ESPnet or espnet_mtasr; check it"
READS = "is a class that may read other models' files"
S3PRL = "espnet2.asr.frontend.s3prl:S3prlFrontend"

UNTRUSTED: List[Untrusted] = [
    *(
        Untrusted(f"{part} of its own", {part: "evil_of_test:X"}, NEITHER)
        for part in (
            *("encoder", "separator", "model", "specaug", "normalize", "preprocessor"),
        )
    ),
    Untrusted(
        "frontend of its own", dict(frontend="evil_of_test:X", input_size=None), NEITHER
    ),
    Untrusted("trunk of its own", espnet_encoder(trunk="evil_of_test:X"), NEITHER),
    Untrusted("branch of its own", espnet_encoder(branch="evil_of_test:X"), NEITHER),
    Untrusted("module of its own", dict(separator="evil_of_test.sub:X"), NEITHER),
    Untrusted("installed class", dict(separator="collections:OrderedDict"), NEITHER),
    Untrusted("like ESPnet's name", dict(separator="espnet2_evil:X"), NEITHER),
    Untrusted("frontend s3prl", dict(frontend="s3prl", input_size=None), READS),
    Untrusted("s3prl by its class", dict(frontend=S3PRL, input_size=None), READS),
    Untrusted("trunk of fairseq", espnet_encoder(trunk="wav2vec2"), READS),
    Untrusted("trunk of Whisper", espnet_encoder(trunk="whisper"), READS),
    Untrusted(
        "codec by its class",
        dict(
            frontend="espnet2.mt.frontend.embedding:CodecEmbedding",
            frontend_conf=dict(input_size=10, hf_model_tag="http://127.0.0.1:9/x.zip"),
            input_size=None,
        ),
        READS,
    ),
    Untrusted("Whisper's tokens", dict(token_type="whisper_en"), "reads other models"),
    Untrusted("audio tokens", dict(token_type="qwen2audio"), "reads other models'"),
    Untrusted("a cleaner", dict(cleaner="whisper_en"), "runs other packages' code"),
    Untrusted(
        "another WavLM",
        dict(encoder_conf=dict(model="owner/name", num_trunk_layers=1)),
        "would read another model",
    ),
    Untrusted(
        "attention kernels",
        dict(
            encoder_conf=dict(
                num_trunk_layers=1,
                load_pretrained=False,
                wavlm_conf=dict(attn_implementation="owner/name"),
            )
        ),
        "would download code",
    ),
]

PACKED_FAULTS: List[Case] = [
    Case("cut to 90 %", "model.safetensors", damage.cut(0.9), NO_CHECKPOINT),
    Case("cut in its header", "model.safetensors", damage.cut(0.001), NO_CHECKPOINT),
    Case("empty", "model.safetensors", damage.replaced(b""), NO_CHECKPOINT),
    Case("text", "model.safetensors", damage.replaced(b"hello\n" * 9), NO_CHECKPOINT),
    Case("a pickle", "model.safetensors", damage.pickled_code, NO_CHECKPOINT),
    Case(
        "header of 2^40 bytes",
        "model.safetensors",
        damage.replaced((1 << 40).to_bytes(8, "little") + b'{"a":1}'),
        NO_CHECKPOINT,
    ),
    Case(
        "a weight is NaN",
        "model.safetensors",
        damage.one_packed_weight(float("nan")),
        DIVERGED,
    ),
    Case(
        "a weight is 1.5e7",
        "model.safetensors",
        damage.one_packed_weight(1.5e7),
        DIVERGED,
    ),
]

INIT_FAULTS: List[BadStart] = [
    BadStart(
        "missing", damage.missing, "--init_param .*: no such file; train it first"
    ),
    BadStart("cut", damage.cut(0.5), NO_CHECKPOINT),
    BadStart("empty", damage.replaced(b""), NO_CHECKPOINT),
    BadStart("runs code", damage.pickled_code, NO_CHECKPOINT),
    BadStart("is NaN", damage.first_weight(float("nan")), DIVERGED),
    BadStart("is 1.5e7", damage.first_weight(1.5e7), DIVERGED),
    BadStart(
        "lacks the part",
        lambda path: None,
        "the file has no weights of separator; give another file, or a part that it",
        part="separator",
    ),
]
