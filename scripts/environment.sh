# Sourced by the other scripts: makes .venv beside the project and installs jitnet with the extras that are asked for.
#
#     source scripts/environment.sh
#     environment cli plots        # then "$python" is .venv's
#
# Once is enough: what is installed is written down in .venv, and done again only after pyproject.toml has changed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python

environment() {
    local base=${PYTHON:-python3} extra missing=() stamp
    stamp=$root/.venv/.jitnet-$(cksum <"$root/pyproject.toml" | cut -d' ' -f1)
    if [ ! -x "$python" ]; then
        "$base" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' || {
            echo "error: $base is $("$base" --version 2>&1), Python 3.11 to 3.14 is wanted (set PYTHON=...)" >&2
            return 2
        }
        echo "making .venv with $("$base" --version)" >&2
        # Without Debian's python3-venv this leaves a folder that has no pip: the next try must not take it for done.
        "$base" -m venv "$root/.venv" || { rm -rf "$root/.venv"; return 2; }
    fi
    for extra in "$@"; do
        [ -e "$stamp-$extra" ] || missing+=("$extra")
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing jitnet[$(IFS=,; echo "${missing[*]}")] into .venv" >&2
    # compat: a path, and no finder, which in the folder above loses against this folder's name.
    "$python" -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat \
        --editable "$root[$(IFS=,; echo "${missing[*]}")]" || return
    for extra in "${missing[@]}"; do
        touch "$stamp-$extra"
    done
}
