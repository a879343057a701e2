#!/usr/bin/env bash
# Installs minimoto on a machine: minimoto_install.sh ROLE, as root or with sudo; ROLE is client, watchdog or service.
# A second run changes nothing and says so. Ubuntu 22.04 and 24.04, Debian 12.
set -euo pipefail
umask 022

usage() {
    cat <<'END'
usage: minimoto_install.sh ROLE [--check | --enable] [option ...]

ROLE            client, watchdog or service
--check         only verify each piece of an installation
--enable        only let cron start the role's program (a node's first boot does)
--config FILE   put this configure.ini into /etc/minimoto
--extra NAME    install an extra too (service only, which has torch without asking); may be given again
--models DIR    put the fetched models of this folder beside the program (service only)
--source DIR    the program's folder (default: the one this script lies in)
--prefix DIR    install below DIR instead of /
--no-system     leave packages, users and the running system alone
END
}

die() {
    echo "minimoto_install: $*" >&2
    exit 1
}

say() { echo "minimoto_install: $*"; }

# --- arguments -------------------------------------------------------------------------------------------------------
role=
mode=install
config_file=
prefix=
system=yes
extras=()
models=
source=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

parse() {
    while (($#)); do
        case $1 in
            client | watchdog | service) role=$1 ;;
            --check) mode=check ;;
            --enable) mode=enable ;;
            --no-system) system=no ;;
            --config | --extra | --models | --source | --prefix)
                (($# > 1)) || die "$1 needs a value"
                case $1 in
                    --config) config_file=$2 ;;
                    --extra) extras+=("$2") ;;
                    --models) models=$(cd -- "$2" && pwd) ;;
                    --source) source=$(cd -- "$2" && pwd) ;;
                    --prefix) prefix=$(mkdir -p -- "$2" && cd -- "$2" && pwd) ;;
                esac
                shift
                ;;
            -h | --help)
                usage
                exit 0
                ;;
            *)
                usage >&2
                die "unknown argument: $1"
                ;;
        esac
        shift
    done
    [[ -n $role ]] || {
        usage >&2
        die "name a role: client, watchdog or service"
    }
    if [[ $role == service ]]; then
        # What a job asks for is not known here: styling by optimisation, and models that are fetched, need it.
        [[ " ${extras[*]} " == *" torch "* ]] || extras+=(torch)
    elif ((${#extras[@]})); then
        die "--extra is for the role service only"
    fi
    if [[ -n $models && $role != service ]]; then
        die "--models is for the role service only"
    fi
}

parse "$@"

home=$prefix/opt/minimoto
app=$home/app
venv=$home/venv
settings=$prefix/etc/minimoto/configure.ini
cron_file=$prefix/etc/cron.d/minimoto-$role
rotation=$prefix/etc/logrotate.d/minimoto
state=$prefix/var/lib/minimoto
logs=$prefix/var/log/minimoto
command=$prefix/usr/local/bin/minimoto
user=minimoto

# --- steps -----------------------------------------------------------------------------------------------------------
step=start
changes=0
status=0
trap 'status=$?; [[ $status -eq 0 ]] || echo "minimoto_install: $step failed (exit status $status)" >&2' EXIT

changed() {
    changes=$((changes + 1))
    say "$step: $*"
}
unchanged() { say "$step: unchanged"; }

# Installs a file if its content is another; prints whether it did.
place() { # MODE SOURCE TARGET
    if cmp -s -- "$2" "$3"; then
        return 1
    fi
    mkdir -p -- "$(dirname -- "$3")"
    install -m "$1" -- "$2" "$3.new"
    mv -f -- "$3.new" "$3"
}

has_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

interpreter=
find_python() {
    local candidate
    [[ -z $interpreter ]] || return 0
    for candidate in ${MINIMOTO_PYTHON:+"$MINIMOTO_PYTHON"} python3 python3.13 python3.12 python3.11; do
        if has_python "$candidate"; then
            interpreter=$(command -v "$candidate")
            return
        fi
    done
    die "minimoto needs Python 3.11 or later; there is none"
}

# apt-get, waiting for whoever holds its locks: a machine that just booted updates itself.
apt() {
    local give_up=$((SECONDS + 600)) log
    log=$(mktemp)
    until DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get --quiet --option DPkg::Lock::Timeout=600 "$@" </dev/null 2>"$log"; do
        cat "$log" >&2
        if ! grep -Eq 'Could not get lock|Unable to (acquire|lock)' "$log" || ((SECONDS >= give_up)); then
            rm -f "$log"
            return 1
        fi
        say "$step: waiting for another apt to finish"
        sleep 5
    done
    rm -f "$log"
}

wanted_packages() {
    local python=python3
    # Ubuntu 22.04's own Python is too old, but it has a newer one beside it.
    has_python python3 || python=python3.11
    echo "$python" "$python-venv" ca-certificates logrotate
    case $role in
        service) echo cron util-linux ffmpeg fonts-dejavu-core fonts-noto-cjk ;;
        watchdog) echo cron util-linux ;;
    esac
}

packages() {
    local package missing=()
    for package in $(wanted_packages); do
        [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        unchanged
        return
    fi
    # The first boot may still be at work on the same packages.
    if command -v cloud-init >/dev/null; then
        timeout 300 cloud-init status --wait >/dev/null || say "$step: cloud-init has not finished well; going on"
    fi
    apt update
    apt install --yes --no-install-recommends "${missing[@]}"
    changed "installed ${missing[*]}"
}

account() {
    if getent passwd "$user" >/dev/null; then
        unchanged
    else
        useradd --system --user-group --home-dir "$state" --shell /usr/sbin/nologin "$user"
        changed "made the user $user"
    fi
}

folders() {
    local folder made=()
    for folder in "$home" "$home/models" "$(dirname -- "$settings")" "$state" "$logs"; do
        [[ -d $folder ]] || made+=("$folder")
    done
    mkdir -p -- "$home/models" "$(dirname -- "$settings")" "$state" "$logs"
    if [[ $system == yes ]]; then
        chown "$user:$user" -- "$state" "$logs"
        chmod 0750 -- "$state"
    fi
    if ((${#made[@]})); then changed "made ${made[*]}"; else unchanged; fi
}

project_files() {
    cd -- "$source"
    find minimoto minimoto_*.py minimoto_install.sh run_service.sh ./*.cron pyproject.toml README.md LICENSE \
        -type f ! -path '*/__pycache__/*' ! -name '.*' | sed 's|^\./||' | LC_ALL=C sort
}

digest() { (cd -- "$source" && project_files | xargs -d '\n' sha256sum --) | sha256sum | cut -c 1-16; }

# Each version of the program has a folder of its own; one rename makes it the current one.
program() {
    local version target old
    version=$(digest)
    target=$home/releases/$version
    if [[ $(readlink -- "$app") == "releases/$version" ]]; then
        unchanged
        return
    fi
    rm -rf -- "$target.new" "$target"
    mkdir -p -- "$target.new"
    (cd -- "$source" && project_files | tar -cf - --files-from=- --owner=0 --group=0) | tar -xf - --no-same-owner -C "$target.new"
    chmod -R u=rwX,go=rX -- "$target.new"
    chmod 0755 -- "$target.new"/minimoto_*.py "$target.new"/minimoto_install.sh "$target.new"/run_service.sh
    find_python
    "$interpreter" -m compileall -q -s "$target.new" -p "$app" "$target.new/minimoto"
    mv -- "$target.new" "$target"
    ln -sfn -- "releases/$version" "$app.new"
    mv -fT -- "$app.new" "$app"
    for old in "$home"/releases/*; do
        [[ $old == "$target" ]] || rm -rf -- "$old"
    done
    changed "version $version"
}

# PyPI's torch is built for CUDA on Linux; the one for machines without a GPU is a tenth of the size, and comes from an
# index of its own. MINIMOTO_TORCH_INDEX names another, such as one of builds for an older CUDA; empty: only PyPI.
extra_index() {
    local index=
    command -v nvidia-smi >/dev/null || index=https://download.pytorch.org/whl/cpu
    index=${MINIMOTO_TORCH_INDEX-$index}
    if [[ $role == service && -n $index ]]; then echo "--extra-index-url=$index"; fi
}

environment() {
    local stamp wanted names
    find_python
    stamp=$venv/.minimoto
    names=$(IFS=,; echo "${extras[*]}")
    wanted="$(readlink -- "$app") [$names] $("$interpreter" --version)"
    if [[ -r $stamp && $(<"$stamp") == "$wanted" ]]; then
        unchanged
        return
    fi
    # An environment of another Python, or half an environment, is made anew.
    if ! has_python "$venv/bin/python" || [[ $("$venv/bin/python" --version) != "${wanted##*] }" ]]; then
        rm -rf -- "$venv"
        "$interpreter" -m venv -- "$venv"
    fi
    rm -f -- "$stamp"
    # shellcheck disable=SC2046 # no word when there is no index
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --upgrade $(extra_index) \
        "$app${names:+[$names]}" </dev/null
    echo "$wanted" >"$stamp"
    changed "installed minimoto with ${wanted##*] }"
}

shortcut() {
    if [[ $(readlink -- "$command") == "$venv/bin/minimoto" ]]; then
        unchanged
        return
    fi
    mkdir -p -- "$(dirname -- "$command")"
    ln -sfn -- "$venv/bin/minimoto" "$command"
    changed "made $command"
}

log_rotation() {
    local file
    file=$(mktemp)
    cat >"$file" <<END
$logs/*.log $state/*.log {
    su $user $user
    weekly
    maxsize 50M
    rotate 4
    compress
    delaycompress
    missingok
    notifempty
    copytruncate
}
END
    if place 0644 "$file" "$rotation"; then changed "wrote $rotation"; else unchanged; fi
    rm -f -- "$file"
}

configuration() {
    if [[ -z $config_file ]]; then
        unchanged
    elif place 0644 "$config_file" "$settings"; then
        changed "wrote $settings"
    else
        unchanged
    fi
}

# Fetched and checked by whoever runs setup; the check of the models below reads every byte of them again.
models() {
    local file put=()
    for file in "$models"/*.safetensors "$models"/*.onnx "$models"/*.json; do
        [[ -f $file ]] || continue
        if place 0644 "$file" "$home/models/$(basename -- "$file")"; then put+=("$(basename -- "$file")"); fi
    done
    if ((${#put[@]})); then changed "put ${put[*]}"; else unchanged; fi
}

has_cron() { [[ $role != client ]]; }

# The role's cron file, with this installation's paths.
cron_text() { sed -E "s#/(opt|var/log|var/lib)/minimoto#$prefix&#g" "$app/$role.cron"; }

enable() {
    local file
    if ! has_cron; then
        return
    fi
    if [[ ! -r $settings ]]; then
        # While an image is made the machine has no deployment; user data brings it at the first boot.
        say "$step: not yet: $settings is missing"
        return
    fi
    file=$(mktemp)
    cron_text >"$file"
    if place 0644 "$file" "$cron_file"; then changed "wrote $cron_file"; else unchanged; fi
    rm -f -- "$file"
}

# Cron looks at its files once a minute; a new node need not wait for that.
start_now() {
    if [[ $role == service && $system == yes && -r $settings ]] && command -v systemd-run >/dev/null; then
        systemd-run --quiet --collect --unit=minimoto-first --uid="$user" \
            --property=StandardOutput="append:$logs/service.log" --property=StandardError="append:$logs/service.log" \
            "$app/run_service.sh" || say "$step: cron will start the service within a minute"
    fi
}

# Runs as the account that the role's program runs as, so that what it may not read or write is noticed.
verify() {
    local options=()
    has_python "$venv/bin/python" || die "check python: FAILED: there is no environment in $venv"
    [[ -z $prefix ]] || options+=(--prefix "$prefix")
    if [[ $system == no ]]; then
        options+=(--no-system)
    elif has_cron && [[ $(id -u) -eq 0 ]]; then
        (cd / && runuser --user "$user" -- "$venv/bin/python" -m minimoto.verify "$role" "${options[@]}")
        return
    fi
    (cd / && "$venv/bin/python" -m minimoto.verify "$role" "${options[@]}")
}

# --- the run ---------------------------------------------------------------------------------------------------------
run() {
    step=$1
    "${1//-/_}"
}

install_everything() {
    local name
    if [[ $system == yes ]]; then
        [[ $(id -u) -eq 0 ]] || die "this changes the system: run it with sudo, or with --no-system --prefix DIR"
        run packages
        run account
    fi
    for name in folders program environment shortcut log-rotation configuration enable; do
        run "$name"
    done
    [[ -z $models ]] || run models
    step=verify
    verify
    if ((changes)); then
        say "$role: $changes steps changed something"
    else
        say "$role: nothing to change"
    fi
}

case $mode in
    install) install_everything ;;
    check)
        step=verify
        verify
        ;;
    enable)
        run enable
        run start-now
        ;;
esac
