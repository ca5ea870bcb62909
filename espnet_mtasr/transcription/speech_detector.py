"""Voice activity detection by silero-vad, whose package contains the weights.

Source: Silero Team, Silero VAD, https://github.com/snakers4/silero-vad (MIT).
"""

import warnings
from math import gcd
from typing import Any, Iterator

import numpy as np
import torch

from espnet_mtasr.data.audio import resample
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.settings import THRESHOLD

# Seconds and samples of a frame, at silero-vad's sampling rate.
FRAME = 0.032
SAMPLES, RATE = 512, 16000
# Speech that is shorter than this, in seconds, is ignored: a click, a cough.
SHORTEST_SPEECH = 0.1


class SpeechDetector:
    """Computes the probability of speech, frame by frame, while a recording is read.

    Args:
        rate: Of the samples, in Hz.
    """

    def __init__(self, rate: int):
        self.rate = rate
        # The smallest number of frames with a whole number of samples.
        self._frames = 125 // gcd(4 * rate, 125)
        self._samples = self._frames * 4 * rate // 125
        self._model = _load()
        self.reset()

    def reset(self) -> None:
        """Start another recording."""
        self._model.reset_states()
        self._kept = np.zeros(0, np.float32)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return probabilities of the frames that these samples complete.

        Args:
            samples: `(n,)` float32, which follow those of the last call.

        Returns:
            `(frames,)` float32, of `FRAME` seconds each.

        Raises:
            UserError: the samples are too large.
        """
        kept = np.concatenate([self._kept, samples])
        whole = len(kept) // self._samples * self._samples
        self._kept = kept[whole:]
        return self._probabilities(kept[:whole])

    def end(self) -> np.ndarray:
        """Return probabilities of the remaining samples, padded with silence."""
        rest, self._kept = self._kept, self._kept[:0]
        padded = np.pad(rest, (0, -len(rest) % self._samples))
        frames = -(-len(rest) * 125 // (4 * self.rate))
        return self._probabilities(padded)[:frames]

    @torch.no_grad()
    def _probabilities(self, samples: np.ndarray) -> np.ndarray:
        if len(samples) == 0:
            return np.zeros(0, np.float32)
        frames = resample(samples, self.rate, RATE).reshape(-1, SAMPLES)
        found = [self._model(torch.from_numpy(frame), RATE).item() for frame in frames]
        if not np.isfinite(found).all():
            raise UserError(
                "samples are too large to detect speech in; check the recording"
            )
        return np.array(found, np.float32)

    def hears_speech(self, samples: np.ndarray, threshold: float = THRESHOLD) -> bool:
        """Return whether a recording has speech; stops at the first speech.

        Args:
            samples: `(N,)` float32, the whole recording.
            threshold: A frame is speech from this probability on.
        """
        self.reset()
        run = 0
        for probabilities in self._by_second(samples):
            for probability in probabilities:
                run = run + 1 if probability >= threshold else 0
                if run * FRAME >= SHORTEST_SPEECH:
                    return True
        return False

    def of_recording(self, samples: np.ndarray) -> np.ndarray:
        """Return the probabilities `(frames,)` of a whole recording `(N,)`."""
        self.reset()
        return np.concatenate(list(self._by_second(samples)))

    def _by_second(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        for at in range(0, len(samples), self.rate):
            yield self(samples[at : at + self.rate])
        yield self.end()


def _load() -> Any:
    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad

        with warnings.catch_warnings():
            # torch has deprecated the format in which silero-vad stores its model.
            warnings.simplefilter("ignore", FutureWarning)
            return load_silero_vad()
    except ImportError as e:
        raise UserError(
            f"silero-vad can't be imported ({e}); install it: pip install silero-vad"
        ) from e
    finally:
        # Importing silero-vad sets torch to one thread.
        torch.set_num_threads(threads)
