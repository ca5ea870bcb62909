"""Cached outputs of the trunk: the same loss, and never those of something else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.layers.utterance_mvn import UtteranceMVN
from helpers.tiny_models import HOP, make_batch, make_model, make_tiny_llm

from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.asr.trunk_cache import (
    TrunkCache,
    audio_hash,
    hash_to_ids,
    open_cache,
    read_line,
    trunk_hash,
)
from espnet_mtasr.errors import UserError

TRUNK = "0123456789abcdef0123456789abcdef"
FRAMES = (9, 14, 0, 11)


def audio(k):
    return f"{k:032x}"


def freeze(part):
    for parameter in part.parameters():
        parameter.requires_grad = False


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Without dropout above the trunk, a cached batch has one right loss."""
    model = make_model(make_tiny_llm(tmp_path_factory.mktemp("llm") / "llm"))
    freeze(model.encoder.trunk)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and "trunk" not in name:
            module.p = 0.0
        if not name.startswith("encoder.trunk") and hasattr(module, "dropout"):
            if isinstance(module.dropout, float):
                module.dropout = 0.0
    return model.train()


def cached(model, batch, dtype):
    """The batch with each row's output in place of its samples, encoded alone."""
    rows = []
    for samples, n in zip(batch["speech"], batch["speech_lengths"]):
        with torch.no_grad():
            trunk = model.encode_trunk(samples[None, :n], n[None])
        rows.append(trunk.hidden[0, : int(trunk.lengths)].to(dtype).float())
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    ids = torch.from_numpy(hash_to_ids(trunk_hash(model)).copy())
    return {
        **batch,
        "speech": padded,
        "speech_lengths": torch.tensor([len(row) for row in rows]),
        "trunk_hash": ids.repeat(len(rows), 1),
        "trunk_hash_lengths": torch.full((len(rows),), 2),
    }


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float16, 1e-3), (torch.float32, 1e-5)]
)
def test_loss_statistics_and_gradients_are_those_without_cache(model, dtype, tolerance):
    batch = make_batch((2, 3, 2, 3), FRAMES)
    # In training mode: the frozen trunk stays in evaluation mode.
    assert model.training and not model.encoder.trunk.training
    results, gradients = [], []
    for b in (batch, cached(model, batch, dtype)):
        model.zero_grad()
        loss, stats, weight = model(**b)
        loss.backward()
        results.append((loss, stats, weight))
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    (loss, stats, weight), (loss_c, stats_c, weight_c) = results
    assert float(loss) > 1.0 and int(weight) == int(weight_c) == 3
    assert float(loss_c) == pytest.approx(float(loss), rel=tolerance)
    assert set(stats) == set(stats_c)
    for name, value in stats.items():
        assert float(stats_c[name]) == pytest.approx(
            float(value), rel=tolerance, nan_ok=True
        ), name
    for name, gradient in gradients[0].items():
        if gradient is not None and gradient.norm() > 1e-3:
            change = (gradients[1][name] - gradient).norm() / gradient.norm()
            assert change < 20 * tolerance, name


def test_rows_without_any_frame(model):
    batch = cached(model, make_batch((2, 3), (0, 0)), torch.float16)
    assert batch["speech"].shape == (2, 0, 16)
    loss, _, weight = model(**batch)
    assert float(loss) == 0.0 and int(weight) == 0


def test_restored_hidden_and_context_are_the_trunks(model):
    speech = torch.randn(2, 12 * HOP + 20)
    with torch.no_grad():
        trunk = model.encode_trunk(speech, torch.tensor([12 * HOP + 20, 7 * HOP + 20]))
        again = model.encoder.restore_trunk(trunk.hidden, trunk.lengths)
    assert trunk.context.shape == (2, 23)
    for wanted, value in zip(trunk[:3], again[:3]):
        assert torch.equal(wanted, value)
    # They are not cached: see check_cacheable.
    assert again.features is None


def test_an_espnet_trunk_has_no_context():
    encoder = RoutedEspnetEncoder(
        20,
        trunk_conf=dict(output_size=8, linear_units=8, num_blocks=1),
        branch_conf=dict(output_size=8, linear_units=8, num_blocks=1, input_layer=None),
    ).eval()
    with torch.no_grad():
        trunk = encoder.encode_trunk(torch.randn(1, 40, 20), torch.tensor([40]))
        again = encoder.restore_trunk(trunk.hidden, trunk.lengths)
        assert trunk.context is again.context is None
        for wanted, value in zip(
            encoder.encode_branch(trunk, 2), encoder.encode_branch(again, 2)
        ):
            assert torch.equal(wanted, value)


def test_another_trunk_is_refused(model):
    batch = cached(model, make_batch((2, 3), (9, 9)), torch.float16)
    batch["trunk_hash"][1, 0] += 1
    with pytest.raises(UserError, match="another trunk .*stage 7 or 10"):
        model(**batch)


def test_a_trunk_in_training_is_refused(model):
    batch = cached(model, make_batch((2, 3), (9, 9)), torch.float16)
    weight = next(model.encoder.trunk.parameters())
    weight.requires_grad = True
    try:
        with pytest.raises(UserError, match="freeze_param: lacks encoder.trunk"):
            model(**batch)
    finally:
        weight.requires_grad = False


class TestTrunkHash:
    def test_of_equal_models(self):
        first, second = make_model(), make_model()
        freeze(second)
        assert trunk_hash(first) == trunk_hash(first.train()) == trunk_hash(second)

    def test_parts_above_the_trunk_do_not_matter(self):
        model = make_model()
        before = trunk_hash(model)
        with torch.no_grad():
            next(model.encoder.branches.parameters()).add_(1.0)
            next(model.separator.parameters()).add_(1.0)
        assert trunk_hash(model) == before

    def test_weights_and_settings_matter(self):
        model = make_model()
        trunk = model.encoder.trunk
        seen = {trunk_hash(model)}
        with torch.no_grad():
            trunk.layers[0].attention.rel_attn_embed.weight[0, 0] += 1e-6
        seen.add(trunk_hash(model))
        trunk.do_normalize = not trunk.do_normalize
        seen.add(trunk_hash(model))
        # No weight has another shape for it.
        trunk.layers[0].attention.num_heads = 4
        seen.add(trunk_hash(model))
        model.normalize = torch.nn.LayerNorm(3)
        seen.add(trunk_hash(model))
        assert len(seen) == 5

    def test_of_features_and_an_espnet_trunk(self):
        def make(hop_length=128, attention_heads=2):
            torch.manual_seed(0)
            conf = dict(output_size=8, linear_units=8, num_blocks=1)
            encoder = RoutedEspnetEncoder(
                20,
                trunk_conf=dict(conf, attention_heads=attention_heads),
                branch_conf=dict(conf, input_layer=None),
            )
            frontend = DefaultFrontend(n_mels=20, hop_length=hop_length)
            return SimpleNamespace(
                frontend=frontend, normalize=UtteranceMVN(), encoder=encoder
            )

        model = make()
        before = trunk_hash(model)
        # ESPnet's attention keeps what it saw last.
        model.encoder.eval()
        model.encoder.encode_trunk(torch.randn(1, 60, 20), torch.tensor([60]))
        assert trunk_hash(model) == before == trunk_hash(make())
        others = {trunk_hash(make(hop_length=160)), trunk_hash(make(attention_heads=4))}
        assert len({before, *others}) == 3


class TestStore:
    def fill(self, root, **changes):
        cache = TrunkCache.of(root, TRUNK, changes.pop("dtype", "float16"))
        cache.add(
            {
                audio(1): np.arange(6, dtype=np.float32).reshape(3, 2),
                audio(2): np.zeros((0, 2), np.float32),
                audio(3): np.full((1, 2), changes.pop("value", 0.1), np.float32),
            }
        )
        return cache

    def test_read_what_was_written(self, tmp_path):
        self.fill(tmp_path)
        open_cache.cache_clear()
        folder = tmp_path / f"{TRUNK}_float16"
        cache = open_cache(str(folder))
        assert len(cache) == 3 and audio(4) not in cache
        rows, ids = read_line(f"{folder} {audio(1)}")
        assert rows.dtype == np.float16 and rows.tolist() == [[0, 1], [2, 3], [4, 5]]
        assert isinstance(rows, np.memmap)
        assert ids.dtype == np.int64 and ids.tobytes() == bytes.fromhex(TRUNK)
        assert cache.read(audio(2)).shape == (0, 2)
        assert cache.read(audio(3))[0, 0] == np.float16(0.1)

    def test_shards_add_up(self, tmp_path):
        cache = self.fill(tmp_path)
        cache.add({audio(4): np.ones((2, 2), np.float32)})
        for c in (cache, TrunkCache(cache.folder)):
            assert len(c) == 4
            assert c.read(audio(4)).tolist() == [[1, 1], [1, 1]]
            assert c.read(audio(1))[2, 1] == 5

    def test_a_value_too_large(self, tmp_path):
        with pytest.raises(UserError, match="--cache_dtype float16: .*float32"):
            self.fill(tmp_path, value=1e5)
        assert not list(tmp_path.glob("*/*"))
        cache = self.fill(tmp_path, value=1e5, dtype="float32")
        assert cache.read(audio(3))[0, 0] == 1e5

    def test_a_shard_counts_once_its_index_is_there(self, tmp_path):
        cache = self.fill(tmp_path)
        (index,) = cache.folder.glob("*.index")
        index.unlink()
        assert len(TrunkCache(cache.folder)) == 0

    def test_damage(self, tmp_path):
        cache = self.fill(tmp_path)
        (shard,) = cache.folder.glob("*.npy")
        shard.write_bytes(shard.read_bytes()[:-3])
        with pytest.raises(UserError, match=r"\.npy: can't be read .*\.index"):
            TrunkCache(cache.folder).read(audio(1))
        shard.with_suffix(".index").write_text("a b\n")
        with pytest.raises(UserError, match=r"\.index: is damaged"):
            TrunkCache(cache.folder)
        with pytest.raises(UserError, match="lacks recording"):
            cache.read(audio(9))

    def test_wrong_names(self, tmp_path):
        with pytest.raises(UserError, match="is not a cache"):
            TrunkCache(tmp_path / "abc_float16")
        with pytest.raises(UserError, match="is not a cached output"):
            read_line("utterance.wav")

    def test_left_overs(self, tmp_path):
        cache = self.fill(tmp_path)
        part = cache.folder / "x.1.part"
        part.touch()
        cache.remove_left_overs()
        assert part.exists()
        cache.remove_left_overs(seconds=-1.0)
        assert not part.exists()


def test_a_recordings_hash_is_that_of_its_content(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"abc")
    b.write_bytes(b"abc")
    # SHA-256 of "abc" (FIPS 180-2, B.1).
    assert audio_hash(a) == audio_hash(b) == "ba7816bf8f01cfea414140de5dae2223"
    b.write_bytes(b"abd")
    assert audio_hash(b) != audio_hash(a)
    with pytest.raises(UserError, match="missing: can't be read"):
        audio_hash(tmp_path / "missing")
