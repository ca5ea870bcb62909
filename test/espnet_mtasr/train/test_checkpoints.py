"""Frozen weights in averages of checkpoints."""

import torch

from espnet_mtasr.train.checkpoints import keep_frozen


def test_an_average_keeps_frozen_weights_to_the_bit(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(40, 40), torch.nn.Linear(40, 2))
    model[0].requires_grad_(False)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    average = {name: (value + value + value) / 3 for name, value in weights.items()}
    assert not torch.equal(average["0.weight"], weights["0.weight"])
    average["1.weight"] += 1
    path = tmp_path / "valid.loss.ave_3best.pth"
    torch.save(average, path)
    (tmp_path / "valid.loss.ave.pth").symlink_to(path.name)
    best = tmp_path / "1epoch.pth"
    torch.save(average, best)
    (tmp_path / "valid.acc.ave_1best.pth").symlink_to(best.name)
    untouched = best.read_bytes()

    keep_frozen(tmp_path, model)
    found = torch.load(path, weights_only=True)
    assert list(found) == list(weights)
    for name in ("0.weight", "0.bias"):
        assert torch.equal(found[name], weights[name])
    for name in ("1.weight", "1.bias"):
        assert torch.equal(found[name], average[name])
    assert best.read_bytes() == untouched
    assert (tmp_path / "valid.loss.ave.pth").is_symlink()
    before = path.stat().st_mtime_ns
    keep_frozen(tmp_path, model)
    assert path.stat().st_mtime_ns == before
