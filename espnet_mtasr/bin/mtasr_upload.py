#!/usr/bin/env python3
"""Stage 15: upload a packed model to the Hugging Face hub.

Its files are committed unpacked, so that `MTASR.from_pretrained("owner/name")` finds
them. When it runs again, for instance after an interruption, it only sends what is
missing.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.model_zoo.hub import is_repository_id

BOOLEANS = ("hf_private", "hf_without_results", "dry_run", "check_access")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(
        description="Upload a packed model to the Hugging Face hub",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(name: str, **kwargs) -> None:
        names = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        parser.add_argument(*names, **kwargs)

    add("packed_model", type=Path, required=True, help="Archive of stage 14")
    add("hf_repo", required=True, help="owner/name; created if it doesn't exist")
    add("hf_private", default="true", help="false: the model is public")
    add(
        "hf_without_results",
        default="false",
        help="true: upload the model even if it was not scored",
    )
    add(
        "dry_run",
        default="false",
        help="true: write the files to upload into a folder, without network",
    )
    add(
        "output_dir",
        type=Path,
        help="Folder of --dry_run; default: beside the archive",
    )
    add(
        "check_access",
        default="false",
        help="true: only report what would stop an upload; the archive need not exist",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Upload; raises `UserError` if something must be fixed."""
    args = get_parser().parse_args(cmd)
    for name in BOOLEANS:
        if getattr(args, name) not in ("true", "false"):
            value = getattr(args, name)
            raise UserError(f"--{name} takes true or false, not '{value}'")
    if not is_repository_id(args.hf_repo):
        raise UserError(f"--hf_repo {args.hf_repo}: must have the form owner/name")
    if args.check_access == "true":
        from espnet_mtasr.publishing.uploading import check_access

        me = check_access(args.hf_repo)
        print(f"{args.hf_repo}: {me['name']} may write to it")
        return
    if not args.packed_model.is_file():
        raise UserError(
            f"--packed_model {args.packed_model}: no such file; run stage 14 first"
        )

    from espnet_mtasr.publishing.uploading import (
        check_access,
        prepare_folder,
        upload_folder,
    )

    private = args.hf_private == "true"
    without_results = args.hf_without_results == "true"
    if args.dry_run == "true":
        folder = args.output_dir or args.packed_model.with_suffix("")
        names = prepare_folder(args.packed_model, folder, args.hf_repo, without_results)
        print(
            f"Dry run, nothing is uploaded. {folder} has the files for {args.hf_repo} "
            f"({'private' if private else 'public'} if it is new):"
        )
        for name in names:
            print(f"{(folder / name).stat().st_size / 1e6:9.2f} MB  {name}")
        return
    check_access(args.hf_repo)
    # The archive's disk probably has space for a copy.
    beside = args.packed_model.absolute().parent
    with tempfile.TemporaryDirectory(dir=beside, prefix="upload.") as temporary:
        folder = Path(temporary) / "files"
        prepare_folder(args.packed_model, folder, args.hf_repo, without_results)
        commit = upload_folder(folder, args.hf_repo, private)
    print(f"{args.packed_model} is at {args.hf_repo}: {commit}")


if __name__ == "__main__":
    run_command_line(main)
