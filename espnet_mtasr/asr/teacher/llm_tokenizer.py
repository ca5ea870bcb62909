"""The language model's tokenizer with `<sc>` as an added token."""

from pathlib import Path
from typing import Any, Dict, List, Sequence

from espnet_mtasr.errors import UserError
from espnet_mtasr.text.sot import SC, join_sot, split_sot

# Number of texts whose ids are cached: a training needs the same ones in every epoch.
KEPT_TEXTS = 2**16


class LLMTokenizer:
    """Convert SOT transcripts to ids of a Hugging Face tokenizer and back.

    Each talker's text is tokenized alone, with the id of `<sc>` in between, so no
    talker's tokens depend on a neighbor's.

    Args:
        llm: Folder in Hugging Face format, a hub id, or a packed model's file.

    Raises:
        UserError: there is no tokenizer, or it has no end-of-sentence token.
    """

    def __init__(self, llm: str):
        self.tokenizer = _read_tokenizer(llm)
        if self.tokenizer.eos_token_id is None:
            raise UserError(f"teacher_conf llm: {llm}: its tokenizer has no eos_token")
        # As a special token, decoding with skip_special_tokens would delete it.
        self.tokenizer.add_tokens([SC])
        self.sc_id: int = self.tokenizer.convert_tokens_to_ids(SC)
        self.eos_id: int = self.tokenizer.eos_token_id
        bos_id = self.tokenizer.bos_token_id
        self.bos_id: int = self.eos_id if bos_id is None else bos_id
        self._ids_of: Dict[str, List[int]] = {}

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, sot_text: str) -> List[int]:
        """Return the ids of a SOT transcript, without begin and end of sentence."""
        ids: List[int] = []
        for k, text in enumerate(split_sot(sot_text)):
            if k > 0:
                ids.append(self.sc_id)
            ids += self._encode_talker(text)
        return ids

    def _encode_talker(self, text: str) -> List[int]:
        ids = self._ids_of.get(text)
        if ids is None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(self._ids_of) < KEPT_TEXTS:
                self._ids_of[text] = ids
        return ids

    def split(self, ids: Sequence[int]) -> List[List[int]]:
        """Return the ids of each talker."""
        parts: List[List[int]] = [[]]
        for token in ids:
            if token == self.sc_id:
                parts.append([])
            else:
                parts[-1].append(token)
        return parts

    def decode_talker(self, ids: Sequence[int]) -> str:
        """Return one talker's text, with normalized white space.

        If `<sc>` is spelled by other tokens than its own, it only separates words.
        """
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return " ".join(text.replace(SC, " ").split())

    def tokens(self, ids: Sequence[int]) -> List[str]:
        """Return the names of `ids`."""
        return self.tokenizer.convert_ids_to_tokens(list(ids))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the SOT transcript of `ids`."""
        return join_sot([self.decode_talker(part) for part in self.split(ids)])


def _read_tokenizer(llm: str) -> Any:
    if Path(llm).is_file():
        from espnet_mtasr.asr.teacher.packed_tokenizer import read_tokenizer

        return read_tokenizer(Path(llm))
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(llm, trust_remote_code=False)
    except (OSError, ValueError) as e:
        raise UserError(
            f"teacher_conf llm: {llm} is neither a folder with a tokenizer nor a hub "
            f"id that can be reached ({type(e).__name__}); run stage 6 or name another"
        ) from e
