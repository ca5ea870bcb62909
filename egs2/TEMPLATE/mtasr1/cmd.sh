#!/usr/bin/env bash
# How jobs are started: the recipe's own copy, to be edited. Source it.
#
#   local   on this machine (utils/run.sh)
#   slurm   by sbatch (utils/slurm.pl); add --partition, --account, --time as needed, or
#           have a conf/slurm.conf in ESPnet's form, with the options for sbatch.
#           A job with GPUs gets cpus_per_gpu cores and mem_per_gpu memory for each:
#           num_workers processes load the data of each GPU
#   sge     by Kaldi's queue.pl, which reads conf/queue.conf
#   pbs     by ESPnet's pbs.pl, which reads conf/pbs.conf; both scripts are in utils of
#           an ESPnet installation, and have to be on PATH
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
    sge | pbs)
        queue=queue.pl
        if [ "${cmd_backend}" = pbs ]; then queue=pbs.pl; fi
        if ! command -v "${queue}" >/dev/null; then
            echo "cmd.sh: error: cmd_backend=${cmd_backend}: there is no ${queue} on PATH;" \
                "add the folder of Kaldi's or ESPnet's that has it" >&2
            exit 2
        fi
        export train_cmd="${queue} --mem 8G"
        export cuda_cmd="${queue} --mem 64G"
        export decode_cmd="${queue} --mem 16G"
        ;;
    *)
        echo "cmd.sh: error: cmd_backend=${cmd_backend}: set it to local, slurm, sge or pbs" >&2
        exit 2
        ;;
esac
