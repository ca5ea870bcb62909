"""The model card: README.md of a packed model, as the Hugging Face hub shows it.

After M. Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), with the front
matter that the hub reads. Every figure comes from a file: results.json, and
`model_card.yaml`, where packing records the rest. So the card can be rewritten from an
unpacked model, for instance under its name on the hub.
"""

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import yaml

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole

CARD_FILE = "README.md"
FACTS_FILE = "model_card.yaml"
# No "espnet", here or as the library: the hub would show code for it that loads models
# of ESPnet's own tasks alone.
TAGS = (
    "audio",
    "automatic-speech-recognition",
    "multi-talker",
    "overlapped-speech",
    "serialized-ctc",
)
# Entries of a recipe's conf/model_card.yaml, and their types.
RECIPE_ENTRIES = {
    "title": str,
    "summary": str,
    "language": list,
    "license": str,
    "license_name": str,
    "license_note": str,
    "repository": str,
    "datasets": list,
    "data": list,
    "pretrained": dict,
    "limits": list,
    "holds_for_mixtures": str,
}
UNKNOWN = "not known to the recipe"

CITATIONS = """```bibtex
@inproceedings{shi2026distilling,
  title     = {Distilling {LLM} Semantic Priors into Encoder-Only Multi-Talker {ASR}
               with Talker-Count Routing},
  author    = {Shi, H. and Fujita, Y. and Koshkin, R. and Zhao, M. and Gao, Y. and
               Liu, L. and Sudo, Y.},
  booktitle = {Proc. Interspeech},
  year      = {2026},
  note      = {arXiv:2603.10587}
}
@inproceedings{watanabe2018espnet,
  title     = {{ESPnet}: End-to-End Speech Processing Toolkit},
  author    = {Shinji Watanabe and Takaaki Hori and Shigeki Karita and Tomoki Hayashi
               and Jiro Nishitoba and Yuya Unno and Nelson {Enrique Yalta Soplin} and
               Jahn Heymann and Matthew Wiesner and Nanxin Chen and
               Adithya Renduchintala and Tsubasa Ochiai},
  booktitle = {Proc. Interspeech},
  year      = {2018},
  pages     = {2207--2211}
}
```"""


def read_recipe_entries(path: Path) -> Dict[str, Any]:
    """Read a recipe's entries for its model cards.

    Raises:
        UserError: no such file, not a YAML mapping, an unknown entry, or one of the
            wrong type.
    """
    if not path.is_file():
        raise UserError(f"--model_card {path}: no such file; give another")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        reason = " ".join(str(e).split())
        raise UserError(f"{path}: is not YAML ({reason}); fix it") from e
    if not isinstance(entries, dict):
        raise UserError(f"{path}: has no 'key: value' lines; fix it")
    for name, value in entries.items():
        if name not in RECIPE_ENTRIES:
            known = ", ".join(RECIPE_ENTRIES)
            raise UserError(f"{path}: unknown entry {name}; known are {known}")
        if not isinstance(value, RECIPE_ENTRIES[name]):
            raise UserError(
                f"{path}: {name} is not a {RECIPE_ENTRIES[name].__name__}; fix it"
            )
    for row in entries.get("data", []):
        if not (isinstance(row, dict) and {"name", "licence"} <= set(row)):
            raise UserError(f"{path}: an entry of data lacks name or licence; add it")
    return entries


def read_pretrained(path: Path) -> Dict[str, Dict[str, Optional[str]]]:
    """Read stage 6's models.json: the pretrained parts' sources and revisions.

    For a source in a folder, only the folder's name is kept, not its path.

    Raises:
        UserError: the file is damaged.
    """
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
        return {
            role: {
                "source": _without_place(pin["source"]),
                "revision": pin.get("revision"),
            }
            for role, pin in pins.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{path}: can't be read ({e}); run stage 6 again") from e


def _without_place(source: str) -> str:
    return Path(source).name if Path(source).is_absolute() else source


def write_card(folder: Path, model: str) -> Optional[str]:
    """Write README.md of an unpacked model, from its model_card.yaml and results.json.

    Args:
        folder: Of the model.
        model: What `MTASR.from_pretrained` takes: a hub id or a zip's name.

    Returns:
        See `why_unscored`.

    Raises:
        UserError: one of the two files is damaged.
    """
    facts: Dict[str, Any] = {}
    results = None
    if (folder / FACTS_FILE).is_file():
        facts = _load(yaml.safe_load, folder / FACTS_FILE)
    if (folder / "results.json").is_file():
        results = _load(json.loads, folder / "results.json")
    try:
        card = format_card(facts, results, model)
        reason = why_unscored(facts, results)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise UserError(
            f"{folder}: can't make a card from its {FACTS_FILE} and results.json "
            f"({type(e).__name__}: {e}); score and pack the model again"
        ) from e
    write_whole(folder / CARD_FILE, card)
    return reason


def _load(load, path: Path) -> Any:
    try:
        return load(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as e:
        raise UserError(f"{path.name}: is damaged ({e}); pack the model again") from e


def format_card(
    facts: Mapping[str, Any], results: Optional[Mapping[str, Any]], model: str
) -> str:
    """Return the card, as Markdown.

    Args:
        facts: As `packing.pack_model` records them; the card says that missing ones are
            unknown.
        results: Content of results.json; None: the model was not scored.
        model: What `MTASR.from_pretrained` takes.
    """
    recipe = dict(facts.get("recipe", {}))
    mixtures = facts.get("mixtures") or (results or {}).get("mixtures")
    wanted = recipe.pop("holds_for_mixtures", None)
    foreign = wanted is not None and mixtures is not None and wanted not in mixtures
    if foreign:
        # The recipe describes its own data; whoever used other data must describe
        # these.
        recipe = {name: recipe.get(name) for name in ("title", "repository")}
    sections = [
        _front_matter(recipe),
        f"# {recipe.get('title') or 'Multi-talker speech recognition'}",
        _what_it_is(facts, recipe),
        "## Use",
        _use(model, recipe.get("repository") or facts.get("repository")),
        "## Trained and measured on",
        (
            f"{mixtures[0].upper()}{mixtures[1:]}."
            if mixtures
            else "Mixtures: not stated."
        ),
        "## Results",
        _results(facts, results),
        "## Limits",
        _limits(recipe, foreign),
        "## Licences",
        _licences(facts, recipe),
        "## How it was made",
        _how(facts),
        "## Citation",
        CITATIONS,
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _front_matter(recipe: Mapping[str, Any]) -> str:
    entries: Dict[str, Any] = {"tags": list(TAGS), "library_name": "espnet_mtasr"}
    entries["pipeline_tag"] = "automatic-speech-recognition"
    for name in ("language", "license", "license_name", "datasets"):
        if recipe.get(name):
            entries[name] = recipe[name]
    return f"---\n{yaml.safe_dump(entries, sort_keys=False)}---"


def _what_it_is(facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    counts = facts.get("talker_counts")
    talkers = " or ".join(str(count) for count in counts) if counts else "several"
    parts = [
        recipe.get("summary") or "",
        f"It writes down what each of {talkers} talkers says in a single-channel "
        "recording with overlapping speech, in the order in which they begin. A "
        "speech "
        "encoder, a separator and a CTC head per talker write all talkers in "
        "parallel; "
        "a talker-count head picks the branch. " + _about_language_models(facts),
        "The method is that of Shi et al., Interspeech 2026 "
        "([arXiv 2603.10587](https://arxiv.org/abs/2603.10587)); this is an "
        "independent implementation, espnet_mtasr, on ESPnet2.",
    ]
    if facts.get("parameters"):
        parts.append(
            f"{facts['parameters']:,} parameters, stored as {facts['dtype']}; "
            f"{facts['units']} CTC units ({facts['token_type']}); "
            f"{facts['sampling_rate']} Hz."
        )
    return "\n\n".join(part.strip() for part in parts if part)


def _about_language_models(facts: Mapping[str, Any]) -> str:
    teacher = facts.get("teacher")
    if facts.get("ngram"):
        needs = (
            "An n-gram over the CTC's units weighs in on the search; `--beam_size 1` "
            "leaves it out, and is faster. It needs no other language model."
        )
    elif teacher is None:
        return "It contains no language model and needs none."
    else:
        needs = "It needs no language model."
    if teacher is None:
        return needs
    return (
        f"{needs} The teacher that trained it, "
        f"{_teachers_source(facts) or 'a language model'} ({teacher['parameters']:,} "
        "parameters), is included: with `--decoder teacher` it writes the transcripts "
        "instead, more slowly and without times and confidences."
    )


def _teachers_source(facts: Mapping[str, Any]) -> Optional[str]:
    """Name of the pretrained model that a packed teacher was made from, if known."""
    teacher, pretrained = facts.get("teacher") or {}, facts.get("pretrained", {})
    role = "llm"
    if role not in pretrained and teacher.get("class") == "whisper":
        # Its own decoder.
        role = "encoder"
    return pretrained.get(role, {}).get("source") or teacher.get("source")


def _use(model: str, repository: Optional[str]) -> str:
    place, package = "In a clone of the repository of espnet_mtasr", "."
    if repository is not None:
        place = f"Its code is at <{repository}>"
        package = f'"espnet_mtasr @ git+{repository}"'
    return f"""{place}:

```sh
pip install {package}
espnet-mtasr transcribe --model {model} mix.wav
```

In Python:

```python
from espnet_mtasr import MTASR

model = MTASR.from_pretrained("{model}")
print(model.transcribe("mix.wav").to_txt())
```

`espnet_mtasr.inference.Speech2Text.from_pretrained("{model}")` has the form of ESPnet's
classes. ESPnet's own `espnet transcribe`, `espnet.load` and
`espnet2.bin.asr_inference.Speech2Text` can't load this model: they load models of
ESPnet's own tasks, with one talker's text."""


def why_unscored(
    facts: Mapping[str, Any], results: Optional[Mapping[str, Any]]
) -> Optional[str]:
    """Return why the results aren't those of the packed model; None: they are.

    Args:
        facts: See `format_card`.
        results: See `format_card`.
    """
    if results is None or not results["sets"]:
        return "packed without scores"
    measured, packed = Path(results["model"]).name, facts.get("model_file")
    digest = facts.get("model_sha256")
    if packed is not None and measured != packed:
        return f"measured with {measured}, not with the packed checkpoint {packed}"
    if digest is not None and results.get("model_sha256", digest) != digest:
        return (
            f"measured with an earlier {packed}; the packed one was trained again since"
        )
    return None


def _results(facts: Mapping[str, Any], results: Optional[Mapping[str, Any]]) -> str:
    reason = why_unscored(facts, results)
    if results is None or not results["sets"]:
        return f"Missing: this model was {reason}."
    from espnet_mtasr.scoring.markdown import count_told, format_main_table

    parts = [] if reason is None else [f"**{reason[0].upper()}{reason[1:]}.**"]
    parts += [
        f"Measured on {results['mixtures']}:",
        format_main_table(results),
        f"cpWER: concatenated minimum-permutation word error rate. "
        f"{count_told(results)} RTF: decoding time / audio duration, "
        f"one mixture after the other. `RESULTS.md` gives the machine, the command and "
        f"breakdowns.",
    ]
    if facts.get("ngram") and "ngram" not in results.get("decoding", ""):
        parts.append("Measured with greedy search, without the n-gram.")
    if facts.get("dtype") not in (None, "float32"):
        parts.append(
            f"Measured before the weights were rounded to {facts['dtype']} for packing."
        )
    return "\n\n".join(parts)


def _limits(recipe: Mapping[str, Any], foreign: bool) -> str:
    limits = [
        "It only knows the talker counts above; it uses one of them for other counts.",
        "It orders talkers by when they begin to speak: those who begin at the same "
        "time "
        "may be swapped.",
    ]
    if foreign:
        limits.insert(
            0,
            "It was not trained on the recipe's own data; ask whoever trained it "
            "about its "
            "limits and its licence.",
        )
    return _bullets([*recipe.get("limits", []), *limits])


def _licences(facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    rows = [
        [f"data: {row['name']}", row["licence"], row.get("note", "")]
        for row in recipe.get("data", [])
    ]
    licences = recipe.get("pretrained", {})
    teacher, pretrained = facts.get("teacher"), dict(facts.get("pretrained", {}))
    if teacher is not None and "llm" not in pretrained:
        source = _teachers_source(facts)
        pins = [pin for pin in pretrained.values() if pin["source"] == source]
        pretrained["llm"] = pins[0] if pins else {"source": source or "a model"}
    included = "not included" if teacher is None else "included"
    roles = {
        "encoder": "pretrained encoder",
        "llm": f"teacher in training, {included}",
    }
    for role, pin in pretrained.items():
        revision = f"revision {pin['revision']}" if pin.get("revision") else ""
        licence = licences.get(pin["source"], f"{UNKNOWN}; see its page")
        rows.append([f"{roles.get(role, role)}: {pin['source']}", licence, revision])
    parts = [
        f"This model: {recipe.get('license') or 'not stated'}. "
        + (recipe.get("license_note") or "").strip()
    ]
    if teacher is not None:
        parts.append(
            "The teacher's licence applies to its weights, which this model includes; "
            "some ask whoever passes them on to name them or to add their text."
        )
    if rows:
        parts.append(_table(["part", "licence, as far as known", "note"], rows))
    else:
        parts.append(f"Licences of data and pretrained parts: {UNKNOWN}.")
    return "\n\n".join(parts)


def _how(facts: Mapping[str, Any]) -> str:
    commands = facts.get("commands") or []
    parts = []
    if commands:
        listed = "\n".join(command.strip() for command in commands)
        parts.append(f"Trained by\n\n```sh\n{listed}\n```")
    else:
        parts.append("The command that trained it was not recorded.")
    versions = facts.get("versions", {})
    if versions:
        said = ", ".join(f"{name} {version}" for name, version in versions.items())
        parts.append(f"Packed with {said}. `config.yaml` has the configuration.")
    return "\n\n".join(parts)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _table(header: Sequence[str], rows: List[List[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
