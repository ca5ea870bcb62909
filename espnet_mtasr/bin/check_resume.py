"""Check whether a training can resume in its folder, before mtasr.sh requests a GPU.

Takes the options of mtasr_train. See tasks/resuming.py.
"""

from espnet_mtasr.errors import run_command_line


def main(cmd=None) -> None:
    """Check; `UserError` if the folder contains a different training."""
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.resuming import check_same_training

    check_same_training(MTASRTask.get_parser().parse_args(cmd))


if __name__ == "__main__":
    run_command_line(main)
