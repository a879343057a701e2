"""A Python for ``minimoto_install.sh`` whose ``pip`` needs no network: everything else is the real interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

PYTHON = """#!/bin/bash
# The real Python, but "-m venv" makes an environment whose "pip" only notes what it was asked for.
if [[ $1 == -m && $2 == venv ]]; then
    folder="${@: -1}"
    mkdir -p "$folder/bin"
    cat >"$folder/bin/python" <<'END'
#!/bin/bash
here=$(dirname -- "$(dirname -- "$0")")
if [[ $1 == -m && $2 == pip ]]; then
    echo "$*" >>"$here/../pip.log"
    if [[ -n ${PIP_STUB_FAILS:-} ]]; then
        echo "ERROR: $PIP_STUB_FAILS" >&2
        exit 1
    fi
    printf '#!/bin/sh\\nPYTHONPATH=%s/../app exec REAL -m minimoto "$@"\\n' "$here" >"$here/bin/minimoto"
    chmod +x "$here/bin/minimoto"
    exit 0
fi
PYTHONPATH="$here/../app" exec REAL "$@"
END
    chmod +x "$folder/bin/python"
    exit 0
fi
exec REAL "$@"
"""


def stub_python(path: Path) -> Path:
    """Writes it."""
    path.write_text(PYTHON.replace("REAL", sys.executable))
    path.chmod(0o755)
    return path
