"""Results of a set of one mixture, as stage 13 leaves them."""

import json
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.results import assemble_results, score_set


def make_results(model: str = "exp/best.pth") -> Dict[str, Any]:
    """Return the content of results.json: one of three words is missing."""
    references = References(texts={"a": ["one two", "three"]})
    hypotheses = Hypotheses(
        texts={"a": ["one", "three"]}, num_talkers={"a": 2}, rtf=0.25
    )
    scores = {"test_tiny": score_set(references, hypotheses)}
    return assemble_results("tiny mixtures", model, scores)


def save_results(model: Path) -> None:
    """Write the results of a checkpoint where packing looks for them."""
    folder = model.parent / f"decode_{model.stem}"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(make_results(str(model))))
