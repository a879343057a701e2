#!/bin/sh
# Starts one service in a free slot of this node; cron calls it every 5 seconds (service.cron).
#
# A node whose slots are all held is left again before Python is started: the kernel knows who holds a lock, and frees
# it when its process dies, so no stale file can keep a node idle. Arguments are handed to minimoto_service.py.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# The folder of the locks, as minimoto/slots.py finds it.
data_folder() {
    if [ -n "${MINIMOTO_SERVICE_DATA_DIR:-}" ]; then
        printf '%s\n' "$MINIMOTO_SERVICE_DATA_DIR"
        return
    fi
    for file in "${MINIMOTO_CONFIG:-configure.ini}" /etc/minimoto/configure.ini; do
        if [ -r "$file" ]; then
            named=$(sed -n 's/^data_dir[[:space:]]*[=:][[:space:]]*\(.*[^[:space:]]\)[[:space:]]*$/\1/p' "$file" | head -n 1)
            break
        fi
    done
    if [ -n "${named:-}" ]; then
        printf '%s\n' "$named"
    elif [ -w /var/lib/minimoto ]; then
        printf '%s\n' /var/lib/minimoto
    else
        printf '%s\n' "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/minimoto"
    fi
}

# Whether every slot is held. Unsure means no: the service itself looks again.
all_held() {
    [ -r "$data/slots" ] && command -v flock >/dev/null 2>&1 || return 1
    slots=$(cat "$data/slots")
    slot=0
    while [ "$slot" -lt "$slots" ]; do
        if [ ! -e "$data/slot-$slot.lock" ] || flock -n "$data/slot-$slot.lock" true; then
            return 1
        fi
        slot=$((slot + 1))
    done
}

find_python() {
    for python in "${MINIMOTO_PYTHON:-}" /opt/minimoto/venv/bin/python "$here/.venv/bin/python"; do
        if [ -n "$python" ] && [ -x "$python" ]; then
            printf '%s\n' "$python"
            return
        fi
    done
    command -v python3
}

# Settings and relative paths in them are those of the folder that the program lies in.
cd -- "$here"
data=$(data_folder)
# A node that took itself out waits for the watchdog, or for an operator who removes the mark.
if [ -e "$data/fenced" ] || all_held; then
    exit 0
fi
python=$(find_python) || {
    echo "run_service.sh: there is no Python; run minimoto_install.sh service" >&2
    exit 1
}
exec "$python" "$here/minimoto_service.py" "$@"
