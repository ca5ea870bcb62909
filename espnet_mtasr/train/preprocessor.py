"""SOT text to what the model wants: CTC targets per talker and the teacher's ids."""

from typing import Dict, Optional, Union

import numpy as np
from espnet2.train.preprocessor import CommonPreprocessor

from espnet_mtasr.text.sot import split_sot


class MTASRPreprocessor(CommonPreprocessor):
    """Turn ``a b <sc> c`` into `text_spk1`, `text_spk2`, ... and `text`.

    Each talker's text is tokenized alone. Talkers beyond those of the utterance get an
    empty array, so that batches of mixed talker counts can be made.

    Args:
        train: Whether augmentations apply.
        max_num_talkers: Number N of `text_spk` arrays.
        llm: Folder or hub id of the teacher's language model; None leaves `text` to
            the CTC ids of all talkers in a row (no teacher reads it).
        kwargs: Options of ESPnet's `CommonPreprocessor`.
    """

    def __init__(
        self,
        train: bool,
        max_num_talkers: int = 3,
        llm: Optional[str] = None,
        **kwargs,
    ):
        super().__init__(train=train, **kwargs)
        self.max_num_talkers = max_num_talkers
        self.llm = llm
        self._llm_tokenizer = None

    def _encode_for_llm(self, text: str) -> np.ndarray:
        # Made at first use: inference needs none, and workers get a small object.
        if self._llm_tokenizer is None:
            from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer

            self._llm_tokenizer = LLMTokenizer(self.llm)
        return np.array(self._llm_tokenizer.encode(text), dtype=np.int64)

    def encode_talker(self, text: str) -> np.ndarray:
        """CTC ids `(L,)` of one talker's text."""
        tokens = self.tokenizer.text2tokens(self.text_cleaner(text))
        return np.array(self.token_id_converter.tokens2ids(tokens), dtype=np.int64)

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
            data[self.text_name] = self._encode_for_llm(" <sc> ".join(texts))
        else:
            data[self.text_name] = np.concatenate(
                [data[f"text_spk{k + 1}"] for k in range(self.max_num_talkers)]
            )
        return data
