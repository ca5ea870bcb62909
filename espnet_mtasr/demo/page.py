"""What gradio shows: a thin layer over hearing.py, mixer.py and timeline.py."""

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import gradio as gr

from espnet_mtasr.demo.hearing import hear, read_wave
from espnet_mtasr.demo.mixer import Mixed, Part, mix_parts, render_sample
from espnet_mtasr.demo.samples import NOISE, read_samples
from espnet_mtasr.demo.timeline import render_error, render_heard, render_mixed
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.many import may_be_a_recordings
from espnet_mtasr.transcription.mtasr import MTASR
from espnet_mtasr.transcription.recordings import Recording

ASSETS = Path(__file__).parent / "assets"
SLOTS = 3
NOBODY = "nobody"
PREDICTED = "predicted by the model"
# At this level, in dB, there is no noise.
NO_NOISE = -40
# Transcriptions run one after the other: they share the machine.
ONE_AT_A_TIME: Dict[str, Any] = dict(
    concurrency_limit=1, concurrency_id="model", show_progress="minimal"
)


def build_page(model: MTASR, max_seconds: float) -> gr.Blocks:
    """Return the page.

    Args:
        model: Transcribes.
        max_seconds: Longest recording that the page accepts.
    """
    with gr.Blocks(title="espnet-mtasr", analytics_enabled=False) as page:
        gr.Markdown(f"# Who said what\nModel: `{model.name}`")
        with gr.Tab("Transcribe"):
            _add_transcriber(model, max_seconds)
        with gr.Tab("Mix"):
            _add_mixer(page, model, max_seconds)
    return page


def shown(render: Callable[[], str]) -> Tuple[str, bool]:
    """Return the HTML to show, and whether rendering succeeded."""
    try:
        return render(), True
    except (UserError, RuntimeError, MemoryError) as e:
        if not may_be_a_recordings(e):
            raise
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        return render_error(reason), False


def _add_counts(model: MTASR) -> gr.Dropdown:
    counts: List[Any] = list(model.talker_counts)
    if model.speech2text.model.count_head is not None or len(counts) == 1:
        counts.insert(0, PREDICTED)
    return gr.Dropdown(counts, value=counts[0], label="Talkers")


def _chosen(count: Any) -> Optional[int]:
    return None if count == PREDICTED else int(count)


def _add_transcriber(model: MTASR, max_seconds: float) -> None:
    samples = read_samples()

    def transcribe(source: Any, count: Any) -> Tuple[str, bool]:
        def render() -> str:
            if isinstance(source, int):
                sample = samples[source]
                wave = render_sample(sample.spec, model.rate)
                recording = Recording(sample.name, (wave,))
                texts = sample.texts
            else:
                recording, texts = read_wave(source, model.rate, max_seconds), None
            return render_heard(hear(model, recording, _chosen(count), texts))

        return shown(render)

    def of_file(path: Optional[str], count: Any) -> Tuple[str, Any, Any]:
        if path is None:
            return "", None, None
        html, readable = transcribe(path, count)
        # Don't show a player for a damaged file.
        return html, (path if readable else None), gr.skip() if readable else None

    def again(source: Any, count: Any) -> str:
        return "" if source is None else transcribe(source, count)[0]

    source = gr.State()
    with gr.Row():
        audio = gr.Audio(
            sources=["upload", "microphone"],
            type="filepath",
            label="Record, or drop a file",
            elem_id="recording",
            min_width=280,
        )
        with gr.Column(min_width=280):
            gr.Markdown("Or click a sample:")
            buttons = [
                gr.Button(sample.title, elem_id=f"sample_{place}")
                for place, sample in enumerate(samples)
            ]
            count = _add_counts(model)
    result = gr.HTML(elem_id="result", js_on_load=None)
    for event in (audio.upload, audio.stop_recording):
        event(of_file, [audio, count], [result, source, audio], **ONE_AT_A_TIME)
    for place, button in enumerate(buttons):
        button.click(
            lambda count, place=place: (transcribe(place, count)[0], place, None),
            count,
            [result, source, audio],
            **ONE_AT_A_TIME,
        )
    count.input(again, [source, count], result, **ONE_AT_A_TIME)


def _add_mixer(page: gr.Blocks, model: MTASR, max_seconds: float) -> None:
    talkers = {
        f"{source.talker}: {text}": (source.path, text)
        for sample in read_samples()
        for source, text in zip(sample.spec.sources, sample.texts)
    }
    first = [*list(talkers)[:2], NOBODY]

    def mix(*values: Any) -> Tuple[Mixed, List[int]]:
        *chosen, noise_level, own = values
        named = {**talkers, **{Path(path).name: (path, None) for path in own or ()}}
        slots = [chosen[k : k + 3] for k in range(0, 3 * SLOTS, 3)]
        parts = {}
        for slot, (name, onset, level) in enumerate(slots, 1):
            if name in named:
                path, text = named[name]
                label = name.partition(":")[0]
                parts[slot] = Part(label, path, float(onset), float(level), text)
        noise = None if noise_level <= NO_NOISE else NOISE
        mixed = mix_parts(
            list(parts.values()), model.rate, max_seconds, noise, noise_level
        )
        return mixed, sorted(parts, key=lambda slot: parts[slot].onset)

    def show(*values: Any) -> str:
        return shown(lambda: render_mixed(*mix(*values)))[0]

    def transcribe(count: Any, *values: Any) -> str:
        def render() -> str:
            mixed, _ = mix(*values)
            heard = hear(model, mixed.recording, _chosen(count), mixed.reference)
            return render_heard(heard)

        return shown(render)[0]

    def at_once(live: bool, *values: Any) -> Any:
        return transcribe(*values) if live else gr.skip()

    def offer(own: Optional[List[str]]) -> List[Any]:
        names = [NOBODY, *(Path(path).name for path in own or ()), *talkers]
        return [gr.update(choices=names) for _ in range(SLOTS)]

    inputs: List[Any] = []
    names: List[Any] = []
    for slot in range(1, SLOTS + 1):
        with gr.Row():
            names.append(
                gr.Dropdown(
                    [NOBODY, *talkers],
                    value=first[slot - 1],
                    label=f"Talker {slot}",
                    elem_id=f"talker_{slot}",
                    min_width=280,
                    scale=2,
                )
            )
            onset = gr.Slider(
                0,
                10,
                value=slot - 1.0,
                step=0.05,
                label="begins at, s",
                elem_id=f"onset_{slot}",
                min_width=150,
            )
            level = gr.Slider(
                -20,
                20,
                value=0,
                step=1,
                label="level, dB",
                elem_id=f"level_{slot}",
                min_width=150,
            )
            inputs += [names[-1], onset, level]
    with gr.Row():
        noise = gr.Slider(
            NO_NOISE,
            10,
            value=NO_NOISE,
            step=1,
            label=f"noise, dB ({NO_NOISE}: none)",
            min_width=280,
        )
        own = gr.File(
            file_count="multiple",
            label="Your own files",
            elem_id="own_files",
            min_width=280,
            height=120,
        )
    inputs += [noise, own]
    preview = gr.HTML(elem_id="mixture", js_on_load=None)
    with gr.Row():
        count = _add_counts(model)
        live = gr.Checkbox(label="transcribe after every change")
        button = gr.Button(
            "Transcribe", variant="primary", elem_id="transcribe_mixture"
        )
    result = gr.HTML(elem_id="mixed_result", js_on_load=None)
    own.change(offer, own, names)
    changed = [component.change for component in inputs if component is not own]
    gr.on(
        [page.load, *changed],
        show,
        inputs,
        preview,
        trigger_mode="always_last",
        show_progress="hidden",
    ).then(at_once, [live, count, *inputs], result, **ONE_AT_A_TIME)
    button.click(transcribe, [count, *inputs], result, **ONE_AT_A_TIME)
