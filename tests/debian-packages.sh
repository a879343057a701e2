#!/bin/sh
# The tests of the SSH installation need a real sshd. On Debian it is installed when it is missing and we may;
# elsewhere those tests are skipped with a reason (and fail in CI).
set -eu
missing=
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "not Debian: the tests that need$missing will be skipped"
    exit 0
fi
sudo=
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
# A policy that refuses to start services: the tests start their own sshd on a loopback port.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null && $sudo chmod +x "$policy" && made=1
fi
trap '[ -z "$made" ] || $sudo rm -f "$policy"' EXIT
# shellcheck disable=SC2086 # a list of packages is meant
$sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null \
    || echo "could not install$missing: the tests that need it will say so" >&2
