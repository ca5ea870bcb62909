#!/usr/bin/env bash
# How jobs are started: the recipe's own copy, to be edited. Source it.
#
#   local   on this machine (utils/run.sh)
#   slurm   by sbatch (utils/slurm.pl); add --partition, --account, --time as needed, or
#           have a conf/slurm.conf in ESPnet's form, which says what sbatch is told.
#           A job with GPUs gets cpus_per_gpu cores and mem_per_gpu memory for each:
#           num_workers processes load the data of each GPU
#
# The commands take: [--gpu N] [--cpus_per_gpu N] [--mem_per_gpu X] [--num_threads N]
# [--mem X] [--num_nodes N] [--max_jobs_run N] [--name NAME] [JOB=1:N] LOG COMMAND ...
cmd_backend=${cmd_backend:-local}

case ${cmd_backend} in
    local)
        export train_cmd="utils/run.sh"
        export cuda_cmd="utils/run.sh"
        export decode_cmd="utils/run.sh"
        ;;
    slurm)
        slurm="utils/slurm.pl"
        if [ -f conf/slurm.conf ]; then slurm+=" --config conf/slurm.conf"; fi
        export train_cmd="${slurm} --mem 8G"
        export cuda_cmd="${slurm} --mem 64G --cpus_per_gpu 5 --mem_per_gpu 32G"
        export decode_cmd="${slurm} --mem 16G --cpus_per_gpu 5"
        ;;
    *)
        echo "cmd.sh: error: cmd_backend=${cmd_backend}: set it to local or slurm" >&2
        exit 2
        ;;
esac
