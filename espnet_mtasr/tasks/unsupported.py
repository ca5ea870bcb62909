"""ESPnet's options that this task doesn't support; ignoring them would mislead."""

import argparse

from espnet_mtasr.errors import UserError

# They come with ASRTask, but need what this task doesn't have.
UNUSED = (
    "init",
    "ctc_conf",
    "joint_net_conf",
    "use_lang_prompt",
    "use_nlp_prompt",
    "aux_ctc_tasks",
)
# Features that need other options here, or aren't available.
INSTEAD = dict(
    use_deepspeed="leave it out; several GPUs share a training by --ngpu, and "
    "gradient_checkpointing saves memory",
    deepspeed_config="leave it out",
    sharded_ddp="leave it out; gradient_checkpointing saves memory",
    use_adapter="leave it out; the teacher has LoRA of its own (teacher_conf lora)",
    exclude_weight_decay="leave it out; set optim_conf weight_decay",
    pretrain_path="give --init_param",
    multi_task_dataset="give --train_data_path_and_name_and_type",
)


def check_unsupported(
    args: argparse.Namespace, defaults: argparse.ArgumentParser
) -> None:
    """Find unsupported options of a training.

    Raises:
        UserError: it names the option.
    """
    for option in UNUSED:
        if getattr(args, option) != defaults.get_default(option):
            raise UserError(f"{option}: is not used by this task; remove it")
    for option, instead in INSTEAD.items():
        # The config.yaml of an older ESPnet may lack one.
        if getattr(args, option, None):
            raise UserError(f"{option}: is not supported; {instead}")
    for option in ("iterator_type", "valid_iterator_type"):
        value = getattr(args, option)
        # They cut mixtures but not their texts, or read lists of another form.
        if value in ("chunk", "category_chunk", "task"):
            raise UserError(f"{option}: {value} is not supported; set it to sequence")
    if args.ngpu > 1 and not args.multiprocessing_distributed:
        raise UserError(
            f"--ngpu {args.ngpu}: several GPUs need a process each; add "
            f"--multiprocessing_distributed true"
        )
