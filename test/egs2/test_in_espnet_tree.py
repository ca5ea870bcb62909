"""A recipe copied into a tree shaped like ESPnet's, as own_corpus's page says it.

No repository of ours is around: the package is installed in the environment that
ESPnet's tools/activate_python.sh activates. Stages 1 to 13 run there once, with a
separator of the recipe's own module.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.own_corpus import make_own_corpus, small_config, snippet
from helpers.recipe_copy import ROOT, copy_recipe, write_script
from helpers.tiny_data import write_config
from helpers.warm_python import warm_python

SETS = "test_own3mix_clean"
SMALL = [
    *("--n_train", 4, "--n_dev", 2, "--n_test", 2, "--nj", 1, "--inference_nj", 1),
    *("--num_threads", 1, "--test_sets", SETS, "--max_unalignable", 1.0),
    *("--phase2_config", "conf/train_small.yaml", "--phase2_tag", "phase2"),
]


def make_espnet_tree(root: Path) -> Path:
    """Make what a recipe meets in an ESPnet checkout; return its folder.

    `pip install` there puts the package into a folder of its own.
    """
    asr1 = root / "egs2" / "TEMPLATE" / "asr1"
    asr1.mkdir(parents=True)
    for name in ("asr.sh", "cmd.sh", "db.sh", "path.sh", "setup.sh"):
        write_script(asr1 / name, 'echo "the ASR template is not for this" >&2; exit 9')
    site = root / "site"
    write_script(
        root / "bin" / "pip",
        f'[ "$*" = "install ." ]; mkdir {site}; ln -s {ROOT}/espnet_mtasr {site}/',
    )
    # The environment of the tests may have the package: it counts only once it has been
    # installed here.
    write_script(
        root / "bin" / "python",
        f'if [ -e {site} ]; then exec {warm_python()}/python "$@"; fi\n'
        f'exec {sys.executable} -S "$@"',
    )
    # As conda's scripts do, it reads a variable that nobody has set.
    (root / "tools").mkdir()
    (root / "tools" / "activate_python.sh").write_text(
        f'export PATH="{root}/bin:{Path(sys.executable).parent}:${{PATH}}"\n'
        f'export PYTHONPATH="{site}" CONDA_SHLVL="${{NOT_SET_BY_ANYONE}}1"\n'
    )
    return root


def run_there(lines: str, cwd: Path, **variables) -> subprocess.CompletedProcess:
    """Run shell lines in a shell in which no environment is active."""
    names = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH")
    env = {k: v for k, v in os.environ.items() if k not in names}
    env.update({name: str(value) for name, value in variables.items()})
    env.update(PATH="/usr/local/bin:/usr/bin:/bin", OMP_NUM_THREADS="1")
    return subprocess.run(
        ["bash", "-ec", lines],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The recipe's folder after all stages, and what they said."""
    espnet = make_espnet_tree(tmp_path_factory.mktemp("espnet"))
    root = tmp_path_factory.mktemp("repository")
    copy_recipe(root, "own_corpus")
    *copying, install, training = snippet("sh", "$ESPNET").splitlines()
    corpus = make_own_corpus(tmp_path_factory.mktemp("corpus"))
    variables = dict(ESPNET=espnet, CORPUS=corpus)

    def there(*lines, cwd=root):
        return run_there("\n".join(lines), cwd, **variables)

    done = there(*copying)
    assert done.returncode == 0, done.stderr
    without_package = there(training)
    done = there(install)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(root)
    recipe = espnet / "egs2" / "own_corpus" / "mtasr1"
    separator = recipe / "local" / "mask_separator.py"
    separator.write_text(snippet("python", "class MaskSeparator"))
    its_name = yaml.safe_load(snippet("yaml", "MaskSeparator"))
    write_config(recipe / "conf" / "train_small.yaml", small_config(its_name))
    done = there(f"{training} {shlex.join(map(str, SMALL))}", cwd=espnet)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return recipe, done.stdout, without_package


def test_without_the_package_it_says_what_to_do(run):
    _, _, done = run
    assert done.returncode == 2
    assert re.fullmatch(
        r"prepare_environment.sh: error: \S+/python has not both espnet and "
        r"espnet_mtasr; activate .* run pip install .*\n",
        done.stderr,
    )


def test_all_stages_ran(run):
    recipe, said, _ = run
    for stage in (*range(1, 7), *range(10, 14)):
        assert f"Stage {stage} took" in said
    results = json.loads((recipe / "exp/mtasr_phase2/results.json").read_text())
    assert list(results["sets"]) == [SETS]
    row = results["sets"][SETS]
    assert (row["n_utt"], row["n_scored"], row["n_missing"]) == (2, 2, 0)
    assert results["mixtures"].endswith("onsets 0.5-1.5 s apart")


def test_everything_is_the_trees_own(run):
    recipe, _, _ = run
    tree = recipe.parents[2]
    for name in ("mtasr.sh", "path.sh", "db.sh", "utils"):
        assert (recipe / name).is_symlink()
        assert (recipe / name).resolve().is_relative_to(tree / "egs2/TEMPLATE/mtasr1")
    log = (recipe / "exp/mtasr_phase2/train.log").read_text()
    assert "# python -m espnet_mtasr.bin.mtasr_train" in log
    assert str(ROOT / "egs2") not in log


def test_the_recipes_own_class_was_trained(run):
    recipe, _, _ = run
    config = yaml.safe_load((recipe / "exp/mtasr_phase2/config.yaml").read_text())
    assert config["separator"] == "local.mask_separator:MaskSeparator"
    assert config["separator_conf"] == {"kernel_size": 7}
    log = (recipe / "exp/mtasr_phase2/train.log").read_text()
    assert "MaskSeparator(" in log and "LSTMSeparator(" not in log
