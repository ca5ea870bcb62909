"""May a training go on in its folder? mtasr.sh asks before it asks for a GPU.

Takes the options of mtasr_train. See tasks/resuming.py.
"""

from espnet_mtasr.errors import run_command_line


def main(cmd=None) -> None:
    """Check; `UserError` where the folder's training is another one."""
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.resuming import check_same_training

    check_same_training(MTASRTask.get_parser().parse_args(cmd))


if __name__ == "__main__":
    run_command_line(main)
