#!/usr/bin/env bash
# Runs a command as a slurm job and waits for it: the interface of Kaldi's slurm.pl. It
# is bash. It keeps the name because espnet2.bin.launch checks it: for a command called
# slurm.pl it uses srun for several nodes, for any other mpirun.
set -euo pipefail

usage="slurm.pl [--config FILE] [--gpu N] [--cpus_per_gpu N] [--mem_per_gpu X] [--num_threads N]
         [--mem X] [--num_nodes N] [--time T] [--max_jobs_run N] [--name NAME] [--partition P]
         [--account A] [--qos Q] [--constraint C] [JOB=1:N] LOG COMMAND [ARGUMENT ...]
In LOG and in the command, JOB is replaced by the number of the job. A job gets
num_threads cores, and with GPUs at least cpus_per_gpu (5) for each; with GPUs,
mem_per_gpu for each takes the place of mem. Both are of one node. sbatch's own variables
(SBATCH_PARTITION, SBATCH_ACCOUNT, ...) count as well. FILE, as ESPnet's conf/slurm.conf,
has lines 'option NAME=VALUE WORDS' and 'default NAME=VALUE': sbatch gets WORDS where
--NAME is VALUE, or * for any, which \$0 in WORDS stands for. Of WORDS --mem-per-cpu gets
mem divided by the cores, and a job with GPUs gets no fewer cores than said above."

die() {
    echo "slurm.pl: error: $*" >&2
    exit 2
}

gpu=0
# A rank computes, and four processes load its data (num_workers).
cpus_per_gpu=5
mem_per_gpu=''
num_threads=1
num_nodes=1
max_jobs_run=0
mem=''
job_name=''
sbatch_options=()
# NAME=VALUE of the configuration to sbatch's words; names that the command line gave.
declare -A words_for=() given=()
config_defaults=()

read_config() { # read_config FILE
    local kind setting words number=0
    [ -r "$1" ] || die "--config $1: cannot be read; give a file as conf/slurm.conf"
    while read -r kind setting words || [ -n "${kind}" ]; do
        number=$((number + 1))
        case ${kind} in
            '' | '#'* | command) ;;
            option | default)
                [[ ${setting} =~ ^[a-z_]+=.+$ ]] ||
                    die "$1: line ${number}: '${setting}' is no NAME=VALUE"
                if [ "${kind}" = default ]; then config_defaults+=("${setting}"); fi
                if [ "${kind}" = option ]; then words_for[${setting}]=${words%%#*}; fi
                ;;
            *) die "$1: line ${number}: '${kind}' is none of command, option, default" ;;
        esac
    done <"$1"
}
has_words() { # has_words NAME VALUE: does the configuration say what sbatch is told?
    [ -n "${words_for[$1=$2]+set}" ] || [ -n "${words_for[$1=*]+set}" ]
}
add_words() { # add_words NAME VALUE: for sbatch; a line for this very value comes first
    local words
    if [ -n "${words_for[$1=$2]+set}" ]; then
        words=${words_for[$1=$2]}
    else
        words=${words_for[$1=*]}
    fi
    read -ra words <<<"${words//\$0/$2}"
    config_words+=("${words[@]}")
}
share_of_core() { # mem divided by the granted cores, rounded up
    local size=${mem%[^0-9]} unit=${mem##*[0-9]}
    size=$((10#${size}))
    if [ $((size % granted)) -gt 0 ]; then
        case ${unit} in
            [Gg]) size=$((size * 1024)) unit=M ;;
            [Tt]) size=$((size * 1024)) unit=G ;;
        esac
    fi
    echo "$(((size + granted - 1) / granted))${unit}"
}
while [ $# -gt 0 ]; do
    option=${1#--}
    option=${option//-/_}
    if [[ $1 == --* ]]; then given[${option}]=${2:-}; fi
    case $1 in
        --help)
            echo "${usage}"
            exit 0
            ;;
        --config)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            read_config "$2"
            shift 2
            ;;
        --gpu | --cpus[_-]per[_-]gpu | --num[_-]threads | --max[_-]jobs[_-]run | --num[_-]nodes)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            [[ $2 =~ ^[0-9]+$ ]] || die "$1 takes a number, not '$2'"
            printf -v "${option}" '%s' "$2"
            shift 2
            ;;
        --mem | --mem[_-]per[_-]gpu)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            [[ $2 =~ ^[0-9]+[KMGTkmgt]?$ ]] || die "$1 takes a size such as 8G, not '$2'"
            printf -v "${option}" '%s' "$2"
            shift 2
            ;;
        --name)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            job_name=$2
            shift 2
            ;;
        --time | --partition | --account | --qos | --constraint)
            if [ $# -lt 2 ]; then die "$1 needs a value"; fi
            if ! has_words "${option}" "$2"; then sbatch_options+=("$1=$2"); fi
            shift 2
            ;;
        --*)
            if [ $# -lt 2 ] || ! has_words "${option}" "$2"; then
                die "unknown option $1 (see slurm.pl --help)"
            fi
            shift 2
            ;;
        *) break ;;
    esac
done

for setting in "${config_defaults[@]}"; do
    option=${setting%%=*}
    if [ -n "${given[${option}]+set}" ]; then continue; fi
    given[${option}]=${setting#*=}
    case ${option} in
        gpu | num_threads | num_nodes | mem | cpus_per_gpu | mem_per_gpu | max_jobs_run)
            printf -v "${option}" '%s' "${setting#*=}"
            ;;
    esac
done

name=''
first=1
last=1
if [[ ${1:-} =~ ^([A-Za-z_]+)=([0-9]+)(:([0-9]+))?$ ]]; then
    name=${BASH_REMATCH[1]}
    first=${BASH_REMATCH[2]}
    last=${BASH_REMATCH[4]:-${first}}
    if [ "${last}" -lt "${first}" ]; then die "$1: the second number is smaller than the first"; fi
    shift
fi
if [ $# -lt 2 ]; then die "a log and a command are needed (see slurm.pl --help)"; fi
log=$1
shift
if [ "${last}" -gt "${first}" ] && [[ ${log} != *"${name}"* ]]; then
    die "the log ${log} has no ${name} in it: several jobs would write the same file"
fi
command -v sbatch >/dev/null ||
    die "no sbatch on this machine: set cmd_backend=local in cmd.sh"

# log_of JOB
log_of() {
    if [ -n "${name}" ]; then echo "${log//${name}/$1}"; else echo "${log}"; fi
}

queue_dir=$(dirname "$(log_of "${first}")")/q
base=$(basename "${log}" .log)
if [ -z "${job_name}" ]; then
    job_name=${MTASR_STAGE:+${MTASR_STAGE}_}${base//.${name:-JOB}/}
fi
cores=${num_threads}
threads=${num_threads}
if [ "${gpu}" -gt 0 ]; then
    if [ "${cores}" -lt $((gpu * cpus_per_gpu)) ]; then cores=$((gpu * cpus_per_gpu)); fi
    if [ -n "${mem_per_gpu}" ]; then
        mem=$((gpu * 10#${mem_per_gpu%[^0-9]}))${mem_per_gpu##*[0-9]}
    fi
fi
# Of several processes espnet2.bin.launch gives the threads of all of them, or none.
if [ "${gpu}" -gt 1 ] || [ "${num_nodes}" -gt 1 ]; then threads=${OMP_NUM_THREADS:-1}; fi
if [ -n "${mem}" ] && ! has_words mem "${mem}"; then sbatch_options+=("--mem=${mem}"); fi
id_file=${queue_dir}/${base}.id
# A killed slurm.pl leaves its job running.
if [ -s "${id_file}" ] && command -v squeue >/dev/null; then
    left=$(cut -d';' -f1 "${id_file}")
    if [ -n "$(squeue --noheader --jobs "${left}" 2>/dev/null || true)" ]; then
        die "slurm job ${left} of an earlier run is writing $(log_of "${first}"): wait for" \
            "it and run the same command again, or cancel it by: scancel ${left}"
    fi
fi
for ((job = first; job <= last; job++)); do
    log_file=$(log_of "${job}")
    mkdir -p "$(dirname "${log_file}")"
    # The last run's log must not be mistaken for this one's.
    rm -f "${log_file}"
done
mkdir -p "${queue_dir}"
script=${queue_dir}/${base}.sh

# The script holds the words of the command as they were given; the job's number is put
# in where it runs.
{
    echo '#!/usr/bin/env bash'
    printf 'cd %q || exit 1\n' "${PWD}"
    printf 'words=('
    printf ' %q' "${log}" "$@"
    echo ' )'
    if [ -n "${name}" ]; then
        # shellcheck disable=SC2016 # expanded where the job runs
        printf 'words=("${words[@]//%s/${SLURM_ARRAY_TASK_ID}}")\n' "${name}"
    fi
    # With srun a job has one task per node, and OMP_NUM_THREADS is inherited. Since slurm
    # 22.05 srun doesn't inherit the cores: a task would have a single one.
    # shellcheck disable=SC2016 # expanded where the job runs
    printf 'export OMP_NUM_THREADS=%q SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-%q}"\n' \
        "${threads}" "${cores}"
    cat <<'SCRIPT'
exec >"${words[0]}" 2>&1
echo "# Running on ${HOSTNAME}, slurm job ${SLURM_JOB_ID:-none}"
echo "# Started at $(date)"
echo "#$(printf ' %q' "${words[@]:1}")"
"${words[@]:1}" </dev/null
code=$?
echo "# Accounting: time=${SECONDS} threads=${OMP_NUM_THREADS}"
echo "# Ended (code ${code}) at $(date)"
exit "${code}"
SCRIPT
} >"${script}.part"
mv "${script}.part" "${script}"

sbatch_options+=(--job-name="${job_name}" --nodes="${num_nodes}" --ntasks-per-node=1
    --cpus-per-task="${cores}" --output="${queue_dir}/slurm-%j.out")
if [ "${gpu}" -gt 0 ] && ! has_words gpu "${gpu}"; then
    sbatch_options+=(--gres="gpu:${gpu}")
fi
# Its words come last, so they take precedence.
config_words=()
given[name]=${job_name}
given[num_threads]=${cores}
given[num_nodes]=${num_nodes}
given[gpu]=${gpu}
if [ -n "${mem}" ]; then given[mem]=${mem}; fi
for option in name time mem num_threads num_nodes gpu "${!given[@]}"; do
    if [ -n "${given[${option}]+set}" ] && has_words "${option}" "${given[${option}]}"; then
        add_words "${option}" "${given[${option}]}"
        unset "given[${option}]"
    fi
done
granted=${cores}
for n in "${!config_words[@]}"; do
    case ${config_words[n]} in
        -c | --cpus-per-task) granted=${config_words[n + 1]:-} ;;
        -c[0-9]* | --cpus-per-task=*) granted=${config_words[n]##*[!0-9]} ;;
    esac
done
[[ ${granted} =~ ^[1-9][0-9]*$ ]] ||
    die "the configuration asks sbatch for '${granted}' cores: give -c a number"
# ESPnet's file gives a job with GPUs only a core for each.
if [ "${gpu}" -gt 0 ] && [ "${granted}" -lt "${cores}" ]; then
    granted=${cores}
    config_words+=(--cpus-per-task="${cores}")
fi
# Our mem is the node's, that of ESPnet's file a core's.
for n in "${!config_words[@]}"; do
    case ${config_words[n]} in
        "--mem-per-cpu=${mem}") config_words[n]="--mem-per-cpu=$(share_of_core)" ;;
        "${mem}") [ "${config_words[n - 1]}" != --mem-per-cpu ] || config_words[n]=$(share_of_core) ;;
    esac
done
sbatch_options+=("${config_words[@]}")
if [ -n "${name}" ]; then
    array=${first}-${last}
    if [ "${max_jobs_run}" -gt 0 ]; then array+=%${max_jobs_run}; fi
    sbatch_options+=(--array="${array}")
fi

# mtasr.sh's progress line may be on the current line.
erase_line() {
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

# No signal from the terminal may end it before it has printed the job's number.
(
    trap '' HUP INT QUIT
    exec sbatch --parsable --wait "${sbatch_options[@]}" "${script}" >"${id_file}" </dev/null
) &
waiter=$!
# shellcheck disable=SC2317,SC2329 # the traps call them
find_job() { # sets job_id, which sbatch may not have printed yet
    local n
    for ((n = 0; n < 100; n++)); do
        job_id=$(cut -d';' -f1 "${id_file}" 2>/dev/null || true)
        if [ -n "${job_id}" ] || ! kill -0 "${waiter}" 2>/dev/null; then break; fi
        sleep 0.1
    done
}
# shellcheck disable=SC2317,SC2329
stop() {
    trap '' INT TERM HUP
    find_job
    if [ -n "${job_id}" ]; then scancel "${job_id}" || true; fi
    kill "${waiter}" 2>/dev/null || true
    erase_line
    echo "slurm.pl: stopped, slurm job ${job_id:-none} cancelled; log: ${log}" >&2
    exit 130
}
# shellcheck disable=SC2317,SC2329
leave() {
    trap '' INT TERM HUP
    find_job
    kill -KILL "${waiter}" 2>/dev/null || true
    # The terminal may be gone.
    echo "slurm.pl: hang-up; slurm job ${job_id:-none} goes on, log: ${log}. Once it has" \
        "ended, run the same command to resume; scancel ${job_id:-none} cancels it" >&2 || true
    exit 129
}
trap stop INT TERM
trap leave HUP
code=0
wait "${waiter}" || code=$?

# A job that slurm itself ended (time, memory) leaves a log without its last line. A
# shared disk may show the log a little late.
failed=()
for ((job = first; job <= last; job++)); do
    log_file=$(log_of "${job}")
    for pause in 0 1 2 4; do
        if grep -qs '^# Ended (code' "${log_file}" || [ "${code}" -ne 0 ]; then break; fi
        sleep "${pause}"
    done
    if ! grep -qs '^# Ended (code 0)' "${log_file}"; then failed+=("${log_file}"); fi
done
if [ "${code}" -eq 0 ] && [ ${#failed[@]} -eq 0 ]; then exit 0; fi
if [ "${code}" -eq 0 ]; then code=1; fi
erase_line
echo "slurm.pl: ${#failed[@]} of $((last - first + 1)) jobs failed (code ${code});" \
    "log: ${failed[0]:-${log}}; slurm's own messages: ${queue_dir}" >&2
if [ -e "${failed[0]:-}" ]; then
    grep -v '^# \(Accounting\|Ended\)' "${failed[0]}" | tail -n 5 | sed 's/^/    /' >&2
fi
exit "${code}"
