"""Models of published sizes with random weights, or without weights, and without a hub.

published_models.json has, by hub id, facts from a model's config.json and page: the
shapes, the number of parameters, and the length of an LLM's tokenizer. Inside
`stand_in_weights()`, the task builds a model from a configuration file as usual, but
transformers returns models of these shapes for these ids.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List
from unittest import mock

FACTS: Dict[str, Dict[str, Any]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)


def facts_of(hub_id: str) -> Dict[str, Any]:
    """Return the published facts of a model.

    Raises:
        UserError: published_models.json doesn't have it.
    """
    from espnet_mtasr.errors import UserError

    if hub_id not in FACTS:
        raise UserError(
            f"{hub_id}: its shape is not in tools/published_models.json; add it, or "
            f"choose one of {', '.join(FACTS)}"
        )
    return FACTS[hub_id]


class StandInTokenizer:
    """A tokenizer with the published number of tokens, but none of its words."""

    bos_token_id = 0
    eos_token_id = 1

    def __init__(self, length: int):
        self.vocabulary: Dict[str, int] = {}
        self.length = length

    def __len__(self) -> int:
        return self.length + len(self.vocabulary)

    def add_tokens(self, tokens: List[str]) -> None:
        """Give `tokens` the ids after the last one."""
        for token in tokens:
            self.vocabulary[token] = len(self)

    def convert_tokens_to_ids(self, token: str) -> int:
        """Return the id of an added token."""
        return self.vocabulary[token]

    def convert_ids_to_tokens(self, ids: List[int]) -> List[str]:
        """Return names of tokens: their numbers."""
        return [str(i) for i in ids]

    def decode(self, ids: List[int], skip_special_tokens: bool = False) -> str:
        """Return text of tokens: their numbers as words."""
        return " ".join(self.convert_ids_to_tokens(ids))


def make_causal_lm(hub_id: str, dtype: Any = None, **options: Any):
    """Make a causal LM of the published shape, on the default device."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**facts_of(hub_id)["config"])
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def make_encoder(hub_id: str, config: Any = None, **options: Any):
    """Make a WavLM or Whisper of the published shape; report no missing weights.

    transformers returns both in this form.
    """
    from transformers import AutoConfig, AutoModel

    if config is None:
        config = AutoConfig.for_model(**facts_of(hub_id)["config"])
    return AutoModel.from_config(config), dict(missing_keys=[])


@contextlib.contextmanager
def stand_in_weights() -> Iterator[None]:
    """Let transformers make the models of published_models.json, not load them.

    Inside `torch.device("meta")`, they have shapes but no weights.
    """
    import transformers

    def make_tokenizer(hub_id: str, **options: Any) -> StandInTokenizer:
        return StandInTokenizer(facts_of(hub_id)["tokenizer_length"])

    def facts(hub_id: str) -> Any:
        return dict(facts_of(hub_id)["config"]), {}

    with contextlib.ExitStack() as stack:
        for owner, name, stand_in in (
            (transformers.AutoModelForCausalLM, "from_pretrained", make_causal_lm),
            (transformers.AutoTokenizer, "from_pretrained", make_tokenizer),
            *(
                stand_in
                for kind in ("WavLM", "Whisper")
                for stand_in in (
                    (
                        getattr(transformers, f"{kind}Model"),
                        "from_pretrained",
                        make_encoder,
                    ),
                    (getattr(transformers, f"{kind}Config"), "get_config_dict", facts),
                )
            ),
        ):
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield


def build_from_config(path: str, *options: str, vocabulary: int = 1000):
    """Build the model of a training configuration, and freeze what it freezes.

    Args:
        path: Configuration file; its models are all hub ids, or all folders, which are
            then loaded.
        options: Further options of the training.
        vocabulary: CTC tokens.

    Returns:
        Model and options.

    Raises:
        UserError: the configuration is wrong, or a model's shape is unknown.
    """
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args = MTASRTask.parse_config(path, options)
    MTASRTask.check_args(args)
    named = (args.encoder_conf.get("model"), args.teacher_conf.get("llm"))
    models = [name for name in named if name is not None]
    published = not any(Path(name).is_dir() for name in models)
    for name in models if published else ():
        facts_of(name)
    args.token_list = [str(n) for n in range(vocabulary)]
    with stand_in_weights() if published else contextlib.nullcontext():
        model = MTASRTask.build_model(args)
    freeze(model, args.freeze_param)
    return model, args


def freeze(model: Any, prefixes: List[str]) -> None:
    """Freeze the parts named by `prefixes`, as ESPnet's trainer does."""
    from espnet_mtasr.tasks.options import is_part

    for name, parameter in model.named_parameters():
        if any(is_part(name, prefix) for prefix in prefixes):
            parameter.requires_grad = False
