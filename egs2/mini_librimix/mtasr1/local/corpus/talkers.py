"""The talkers of the mini corpus: engine voice x vocal-tract warp x pitch x rate.

No combination of voice, pitch and warp is in two splits. Each split mixes the engines
from the top of its list, so a small corpus of the first few talkers mixes them too.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional


@dataclass(frozen=True)
class Talker:
    """One synthetic talker.

    Attributes:
        id: LibriSpeech's number of the talker.
        name: For SPEAKERS.TXT.
        sex: M or F, as a listener would guess.
        engine: flite, espeak or pico.
        voice: The engine's name for the voice.
        warp: Resampling factor; above 1 shortens the vocal tract (raises formants).
        pitch: F0 after the warp in Hz (flite; None keeps the voice's own), -p of
            espeak-ng (0 to 99, before the warp), ratio to the voice's own (pico).
        stretch: Duration relative to the voice's own.
    """

    id: int
    name: str
    sex: str
    engine: str
    voice: str
    warp: float
    pitch: Optional[float]
    stretch: float


_TABLE = {
    "train-clean-100": """
        slt          F flite  slt                  1.00  175 1.05
        us           M espeak en-us                1.00   50 1.00
        pico-gb      F pico   en-GB                1.00 1.00 1.00
        awb          M flite  awb                  1.00  126 1.00
        rms          M flite  rms                  1.00    - 0.95
        us-f3        F espeak en-us+f3             1.00   60 1.00
        kal          M flite  kal16                1.00   95 1.00
        pico-us      F pico   en-US                1.00 1.00 1.00
        slt-low      M flite  slt                  0.86  112 1.00
        us-klatt4    M espeak en-us+klatt4         1.00   40 0.95
        awb-high     F flite  awb                  1.18  205 1.05
        rms-high     F flite  rms                  1.18    - 1.00
        pico-us-low  M pico   en-US                0.87 0.67 1.00
        gb-f1        F espeak en-gb+f1             1.05   50 1.00
        kal-deep     M flite  kal16                0.90   78 1.05
        kal-high     F flite  kal16                1.17  190 0.95
        rp-m3        M espeak en-gb-x-rp+m3        1.00   55 1.00
        awb-deep     M flite  awb                  0.90   98 0.95
        pico-gb-high F pico   en-GB                1.11 1.32 1.05
        rms-deep     M flite  rms                  0.90    - 0.90
        gb           M espeak en-gb                0.94   35 1.00
        slt-child    F flite  slt                  1.14  245 1.10
        lanc-m1      M espeak en-gb-x-gbclan+m1    1.00   45 1.00
        carib-klatt2 M espeak en-029+klatt2        1.06   55 1.05
    """,
    "dev-clean": """
        slt-dev      F flite  slt                  1.06  195 1.00
        pico-us-dev  F pico   en-US                1.06 1.14 1.00
        rms-dev      M flite  rms                  1.05    - 0.97
        rp-dev       M espeak en-gb-x-rp+m2        1.00   50 1.00
        awb-dev      M flite  awb                  0.95  112 1.00
        pico-gb-dev  M pico   en-GB                0.88 0.75 1.00
        kal-dev      M flite  kal16                0.95   86 1.00
        us-f1-dev    F espeak en-us+f1             1.00   45 1.00
    """,
    "test-clean": """
        slt-test     F flite  slt                  0.97  165 1.00
        pico-gb-test F pico   en-GB                0.94 0.91 1.00
        rms-test     M flite  rms                  0.95    - 0.93
        us-m1-test   M espeak en-us+m1             1.00   40 1.00
        awb-test     M flite  awb                  1.05  138 1.03
        pico-us-test F pico   en-US                1.12 1.27 1.00
        kal-test     M flite  kal16                1.05  110 0.97
        lanc-test    F espeak en-gb-x-gbclan+f2    1.00   55 1.00
    """,
}


def _parse(split: str, first_id: int) -> List[Talker]:
    talkers = []
    for number, line in enumerate(_TABLE[split].strip().splitlines()):
        name, sex, engine, voice, warp, pitch, stretch = line.split()
        talkers.append(
            Talker(
                first_id + number,
                name,
                sex,
                engine,
                voice,
                float(warp),
                None if pitch == "-" else float(pitch),
                float(stretch),
            )
        )
    return talkers


TALKERS: Dict[str, List[Talker]] = {
    "train-clean-100": _parse("train-clean-100", 101),
    "dev-clean": _parse("dev-clean", 201),
    "test-clean": _parse("test-clean", 301),
}
