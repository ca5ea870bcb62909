"""Upload a packed model to the Hugging Face hub, as ESPnet's stage of that name does.

The repository holds the archive's files unpacked: `model_files.fetch_model` and
`espnet_model_zoo.downloader.ModelDownloader` download them by the repository's name.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List

from espnet_mtasr import __version__
from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo.hub import endpoint, hub_errors
from espnet_mtasr.model_zoo.model_files import (
    RESULT_FILES,
    TEACHER_TOKENIZER,
    files_of,
    unpack_zip,
)
from espnet_mtasr.publishing.model_card import write_card
from espnet_mtasr.text.hugging_face_tokenizer import FILE_NAME

# Kinds of files that packing makes: of an earlier upload, those go that are no longer
# in the archive.
PACKED_SUFFIXES = (".safetensors", ".pth", ".model", ".npz", ".png")
PACKED_NAMES = (*RESULT_FILES, "model_card.yaml", FILE_NAME, TEACHER_TOKENIZER)
# The hub, or the owner by its web page, has put them there.
NOT_A_MODELS = (".gitattributes", "README.md", "LICENSE")


def prepare_folder(
    archive: Path, folder: Path, repository: str, without_results: bool = False
) -> List[str]:
    """Unpack an archive for upload, with a card for its new name.

    Args:
        archive: Packed by stage 14.
        folder: To be made; it appears whole, in the place of an earlier one.
        repository: `owner/name` on the hub.
        without_results: Take a model that was not scored, too.

    Returns:
        Names of the files.

    Raises:
        UserError: the archive is damaged or holds no model, the model was not scored,
            or something else is in the folder's place.
    """
    if folder.exists() and not _is_replaceable(folder):
        raise UserError(f"--output_dir {folder}: has other files; give another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="upload.") as temporary:
        part = Path(temporary) / "new"
        unpack_zip(archive, part)
        files_of(part, str(archive))
        unscored = write_card(part, repository)
        if unscored is not None and not without_results:
            raise UserError(
                f"{archive}: was {unscored}; run stages 12 to 14, or add "
                f"--hf_without_results true"
            )
        if folder.exists():
            os.replace(folder, Path(temporary) / "old")
        os.replace(part, folder)
    return _names(folder)


def check_access(repository: str) -> Dict[str, Any]:
    """Check at the hub that the token's owner may write to the repository.

    Returns:
        The hub's answer: `name`, `orgs` and more.

    Raises:
        UserError: there is no token, the hub rejects it, it is read-only, the
            repository belongs to someone else, or there is no network.
    """
    from huggingface_hub import get_token

    about = f"--hf_repo {repository}"
    if get_token() is None:
        raise UserError(
            f"{about}: no token for {endpoint()}; run 'hf auth login' or set HF_TOKEN "
            f"to one with write access"
        )
    with hub_errors(about, writing=True):
        me = _api().whoami()
    token = me.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise UserError(
            f"{about}: the token {token.get('displayName', '')} may only read; make "
            f"one with write access and run 'hf auth login'"
        )
    owners = [me["name"], *(org["name"] for org in me.get("orgs", []))]
    owner = repository.split("/")[0]
    if owner not in owners:
        raise UserError(
            f"{about}: {owner} is not your account; give one of your repositories, "
            f"{' or '.join(f'{name}/...' for name in owners)}"
        )
    return me


def upload_folder(folder: Path, repository: str, private: bool) -> str:
    """Create the repository if needed, and commit the folder's files to it.

    Existing files are not sent again; a repeated call changes nothing.

    Args:
        folder: As `prepare_folder` made it.
        repository: `owner/name`.
        private: Whether a new repository is private; one that exists stays as it is.

    Returns:
        Address of the commit.

    Raises:
        UserError: see `check_access`; or the repository holds something else, or is
            public and was to be private.
    """
    api = _api()
    with hub_errors(f"--hf_repo {repository}", writing=True):
        api.create_repo(repository, private=private, exist_ok=True)
        is_private = bool(api.model_info(repository).private)
        if private and not is_private:
            raise UserError(
                f"--hf_repo {repository}: exists and is public; add --hf_private false "
                "if the model may be public, or give another"
            )
        if is_private and not private:
            print(f"{repository} already exists and stays private")
        there = api.list_repo_files(repository)
        ours = _names(folder)
        _refuse_foreign(api, repository, set(there) - set(ours))
        stale = [name for name in there if name not in ours and _is_packed(name)]
        if stale:
            print(f"{repository}: removing {', '.join(stale)} of an earlier upload")
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            delete_patterns=stale or None,
            commit_message=f"Model packed by espnet_mtasr {__version__}",
        )
        return str(commit.commit_url)


def _api():
    from huggingface_hub import HfApi

    return HfApi(library_name="espnet_mtasr", library_version=__version__)


def _refuse_foreign(api, repository: str, others: set) -> None:
    """Raise `UserError` if a repository with these files holds another model."""
    others -= set(NOT_A_MODELS)
    if not others:
        # Empty, or what an interrupted upload has left.
        return
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        meta = api.hf_hub_download(repository, "meta.yaml")
        if "mtasr_model_file" in Path(meta).read_text(encoding="utf-8"):
            return
    except RemoteEntryNotFoundError:
        pass
    raise UserError(
        f"--hf_repo {repository}: has other content ({sorted(others)[0]}); give "
        "another repository"
    )


def _is_packed(name: str) -> bool:
    return "/" not in name and (name in PACKED_NAMES or name.endswith(PACKED_SUFFIXES))


def _is_replaceable(folder: Path) -> bool:
    """Whether nothing is lost with a folder: empty, or with an upload's files alone."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    known = {"meta.yaml", "config.yaml", *NOT_A_MODELS}
    others = {name for name in names - known if not _is_packed(name)}
    return not names or ("meta.yaml" in names and not others)


def _names(folder: Path) -> List[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )
