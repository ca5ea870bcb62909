"""Turn SOT text into the model's inputs: CTC targets per talker, the teacher's ids."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type, Union

import numpy as np
from espnet2.train.preprocessor import CommonPreprocessor

from espnet_mtasr.asr.flat_start import place_evenly
from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer
from espnet_mtasr.asr.trunk_cache import read_line
from espnet_mtasr.asr.word_places import places_of_tokens
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.cuts import words_within
from espnet_mtasr.mixture.dynamic import DynamicMixer, read_mixer
from espnet_mtasr.mixture.render import render
from espnet_mtasr.mixture.source_cache import SourceCache
from espnet_mtasr.mixture.source_times import read_source_times
from espnet_mtasr.mixture.spec import MixtureSpec, Span, parse_spec, read_specs
from espnet_mtasr.mixture.speech_list import Kind, kind_of_loaded
from espnet_mtasr.text.hugging_face_tokenizer import HuggingFaceTokenizer
from espnet_mtasr.text.sot import join_sot, split_sot


def flat_start_epochs_of(conf: Mapping[str, Any]) -> Any:
    """Return the epochs of a flat start in `preprocessor_conf`, or their default."""
    epochs = conf.get("flat_start_epochs")
    if epochs is None:
        return 0 if conf.get("source_times") is None else 2
    return epochs


class MTASRPreprocessor(CommonPreprocessor):
    """Turn ``a b <sc> c`` into `text_spk1`, `text_spk2`, ... and `text`.

    Each talker's text is tokenized alone. Talkers that an utterance doesn't have get an
    empty array, so batches can have mixed talker counts.

    If `speech` is a mixture's spec (mixture/spec.py), a mixture is made. For data of
    type `text` it is this mixture, with the samples of its recording
    (mixture/render.py). For data of type `json` it is a new one, and `text` is replaced
    to match (dynamic mixing, mixture/dynamic.py).

    If `speech` is a line of a list of cached outputs of the trunk (data of type `text`,
    asr/trunk_cache.py), they are loaded, and `trunk_hash` identifies the trunk.

    Args:
        train: Whether augmentations apply.
        max_num_talkers: Number N of `text_spk` arrays.
        llm: Folder or hub id of the teacher's language model; None leaves `text` to
            the CTC ids of all talkers in a row (no teacher reads it).
        llm_tokenizer: Class of the teacher's tokenizer; None: `LLMTokenizer`.
        mixtures: Tables `utt2mixture` and `text` whose parts dynamic mixing exchanges.
        seed: Of dynamic mixing.
        dynamic_mixing_conf: Options of `DynamicMixer`: `speeds`, `cache_megabytes`,
            `excerpts` (none in a flat start). And `cut_at_pauses`: with `source_times`,
            also draw parts of recordings, starting with the first epoch that has
            several talkers.
        cache_megabytes: Memory for the sources of mixtures that are made while loading,
            per data loading process.
        flat_start_epochs: Number of first epochs with a flat start of CTC
            (asr/flat_start.py): its share of the CTC loss is 1 in the first one and
            decreases linearly. None: 2 with `source_times`, else 0.
        first_epochs: Talker count to its first epoch in a curriculum, where its flat
            start begins; None: 1 for all.
        source_times: File of mixture/source_times.py: in mixtures of several talkers,
            the flat start puts tokens where these words are. For recordings that aren't
            in it, and for single talkers, tokens are placed evenly.
        specs: Table `utt2mixture`, for the times of talkers in mixtures that are
            recordings.
        talker_times: In training, add `talker_times` `(M, N, 2)`: start and end of each
            talker's turns as fractions of the mixture, 0 and 0 for a turn that isn't
            there. M is 1, or more in an excerpt of a conversation.
        num_samples: Tables `utt2num_samples`: mixtures in them aren't made, and their
            samples are zeros, because only lengths are wanted.
        kwargs: Options of ESPnet's `CommonPreprocessor`.
    """

    def __init__(
        self,
        train: bool,
        max_num_talkers: int = 3,
        llm: Optional[str] = None,
        llm_tokenizer: Optional[Type[LLMTokenizer]] = None,
        mixtures: Optional[Tuple[str, str]] = None,
        seed: int = 0,
        dynamic_mixing_conf: Optional[Dict[str, Any]] = None,
        cache_megabytes: float = 100.0,
        flat_start_epochs: Optional[int] = None,
        first_epochs: Optional[Dict[int, int]] = None,
        source_times: Optional[str] = None,
        specs: Optional[str] = None,
        talker_times: bool = False,
        num_samples: Sequence[str] = (),
        **kwargs,
    ):
        # ESPnet gives these tokens the language model's ids, none of which is blank.
        has_llm_units = kwargs.get("token_type") == "hugging_face"
        if has_llm_units:
            kwargs["token_type"] = "word"
        super().__init__(train=train, **kwargs)
        if has_llm_units:
            self.tokenizer = HuggingFaceTokenizer(kwargs["bpemodel"])
        self.max_num_talkers = max_num_talkers
        self.llm = llm
        self._tokenizer_class = llm_tokenizer or LLMTokenizer
        self._llm_tokenizer: Optional[LLMTokenizer] = None
        self.mixtures = mixtures
        self.dynamic_mixing_conf = {"seed": seed, **(dynamic_mixing_conf or {})}
        self._uses_words = bool(
            self.dynamic_mixing_conf.get("cut_at_pauses")
            or self.dynamic_mixing_conf.get("excerpts")
        )
        self._mixer: Optional[DynamicMixer] = None
        self._sources = SourceCache(cache_megabytes)
        self.flat_start_epochs = flat_start_epochs_of(
            dict(flat_start_epochs=flat_start_epochs, source_times=source_times)
        )
        self.first_epochs = first_epochs or {}
        self.source_times = source_times
        self._words_of: Dict[str, Sequence[Span]] = {}
        self.specs = specs
        self.talker_times = talker_times
        self._num_samples = {
            utt: int(length)
            for path in num_samples
            for utt, length in read_table(path).items()
        }
        self._spec_of: Dict[str, MixtureSpec] = {}
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Make the mixtures of `epoch` from now on."""
        self.epoch = epoch
        counts = range(2, self.max_num_talkers + 1)
        begun = epoch >= min((self.first_epochs.get(n, 1) for n in counts), default=1)
        if self.train and self.source_times is not None and begun:
            if not self._words_of:
                self._words_of = read_source_times(self.source_times)
                if self._uses_words:
                    self._mixer = None
        if self.mixtures is not None and self._mixer is None:
            # Before data loading processes start, or each of them would do it again.
            self._mixer = read_mixer(
                *self.mixtures, words=self._words_of, **self.dynamic_mixing_conf
            )
        if not self._needs_specs():
            self._spec_of = {}
        elif self.specs is not None and self.mixtures is None and not self._spec_of:
            self._spec_of = read_specs(self.specs)

    def __call__(
        self, uid: str, data: Dict[str, Union[str, np.ndarray, Dict[str, Any]]]
    ) -> Dict[str, np.ndarray]:
        """Return the arrays of an utterance; see the class."""
        speech = data.get(self.speech_name)
        spec = self._spec_of.get(uid)
        kind = kind_of_loaded(speech)
        if kind is Kind.MIXTURE and uid in self._num_samples:
            data[self.speech_name] = np.zeros(self._num_samples[uid], np.float32)
        elif kind is Kind.MIXTURE:
            spec = parse_spec(speech, f"utt2mixture: {uid}")
            data[self.speech_name] = render(spec, self._sources.read)
        elif kind is Kind.DYNAMIC:
            spec, texts = self._mixer.draw(uid, self.epoch, self._in_flat_start())
            data[self.speech_name] = self._mixer.render(spec)
            data[self.text_name] = join_sot(texts)
        times = {}
        if self._needs_specs():
            texts = split_sot(data[self.text_name])
            if spec is None or len(spec.times_of_talkers()) != len(texts):
                raise UserError(
                    f"{self.specs}: doesn't have the texts of {uid}'s {len(texts)} "
                    "talkers; make the data again, or set flat_start_epochs and "
                    "activity_weight to 0"
                )
            times = self._times(spec, texts)
        return {**super().__call__(uid, data), **times}

    def _flat_start_share(self, count: int) -> float:
        """Return the flat start's share of the CTC loss of `count` talkers."""
        epochs = self.epoch - self.first_epochs.get(count, 1)
        if not 0 <= epochs < self.flat_start_epochs:
            return 0.0
        return 1.0 - epochs / self.flat_start_epochs

    def _in_flat_start(self) -> bool:
        # All rows of a batch need the same arrays, whatever their talker counts.
        counts = range(1, self.max_num_talkers + 1)
        return any(self._flat_start_share(count) > 0.0 for count in counts)

    def _needs_specs(self) -> bool:
        # Before the first epoch, statistics are collected.
        wanted = self._in_flat_start() or self.talker_times
        return self.train and self.epoch >= 1 and wanted

    def _times(self, spec: MixtureSpec, texts: Sequence[str]) -> Dict[str, np.ndarray]:
        """Return when talkers speak, and for a flat start its share and token times."""
        turns = spec.times_of_talkers()
        most = max(map(len, turns))
        times = np.zeros((most, self.max_num_talkers, 2), dtype=np.float32)
        for k, of_talker in enumerate(turns):
            times[: len(of_talker), k] = np.array(of_talker) / spec.seconds
        arrays = {"talker_times": times} if self.talker_times else {}
        if self._in_flat_start():
            share = self._flat_start_share(len(texts))
            arrays["flat_start"] = np.array([share], dtype=np.float32)
            for k in range(self.max_num_talkers):
                text = texts[k] if k < len(texts) else ""
                placed = self._place(text, k, spec, times[0, k])
                arrays[f"text_spk{k + 1}_times"] = placed
        return arrays

    def _place(
        self, text: str, talker: int, spec: MixtureSpec, span: np.ndarray
    ) -> np.ndarray:
        """Return start and end of tokens `(L, 2)`, as fractions of the mixture."""
        tokens = self.tokens_of(text) if text else []
        words = self.text_cleaner(text).split()
        if len(spec.sources) > 1 and words:
            source, onset = spec.sources[talker], spec.onsets[talker]
            said = words_within(self._words_of.get(source.path, ()), source)
            if len(said) == len(words):
                placed = places_of_tokens(tokens, words, said)
                if placed is not None:
                    return (onset + placed / source.speed) / spec.seconds
        return place_evenly(tokens, *span.tolist())

    def _speech_process(
        self, data: Dict[str, Union[str, np.ndarray]]
    ) -> Dict[str, Union[str, np.ndarray]]:
        """Augment samples, or load the cached outputs that a line names."""
        line = data.get(self.speech_name)
        if kind_of_loaded(line) is not Kind.CACHED:
            return super()._speech_process(data)
        data[self.speech_name], data["trunk_hash"] = read_line(line)
        return data

    def _encode_for_llm(self, text: str) -> np.ndarray:
        # Made at first use: inference doesn't need it, and workers get a small object.
        if self._llm_tokenizer is None:
            self._llm_tokenizer = self._tokenizer_class(self.llm)
        return np.array(self._llm_tokenizer.encode(text), dtype=np.int64)

    def encode_talker(self, text: str) -> np.ndarray:
        """Return CTC ids `(L,)` of one talker's text."""
        tokens = self.tokens_of(text)
        return np.array(self.token_id_converter.tokens2ids(tokens), dtype=np.int64)

    def tokens_of(self, text: str) -> List[str]:
        """Return CTC tokens of one talker's text."""
        return self.tokenizer.text2tokens(self.text_cleaner(text))

    def _text_process(
        self, data: Dict[str, Union[str, np.ndarray]]
    ) -> Dict[str, np.ndarray]:
        """Add the id arrays; raise ValueError for more talkers than the model has."""
        if self.text_name not in data or self.tokenizer is None:
            return data
        sot_text = data.pop(self.text_name)
        texts = split_sot(sot_text)
        if len(texts) > self.max_num_talkers:
            raise ValueError(
                f"{len(texts)} talkers in {sot_text!r}, "
                f"the model has at most {self.max_num_talkers}"
            )
        for k in range(self.max_num_talkers):
            text = texts[k] if k < len(texts) else ""
            data[f"text_spk{k + 1}"] = self.encode_talker(text)
        if self.llm is not None:
            cleaned = map(self.text_cleaner, texts)
            data[self.text_name] = self._encode_for_llm(" <sc> ".join(cleaned))
        else:
            data[self.text_name] = np.concatenate(
                [data[f"text_spk{k + 1}"] for k in range(self.max_num_talkers)]
            )
        return data
