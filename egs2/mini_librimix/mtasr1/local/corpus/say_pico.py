#!/usr/bin/env python3
"""Say one sentence with SVOX Pico (PyPI's py-nanotts): OUT VOICE PITCH SPEED TEXT.

Each sentence needs its own process: a second call in one process starts from the state
of the first and gives different samples.
"""

import sys
import wave

import py_nanotts


def main() -> None:
    out, voice, pitch, speed, text = sys.argv[1:]
    pcm = py_nanotts.NanoTTS().speak(
        text, voice=voice, pitch=float(pitch), speed=float(speed)
    )
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(16000)
        f.writeframes(pcm)


if __name__ == "__main__":
    main()
