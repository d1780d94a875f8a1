# Sourced by the other scripts: goes to the top of the repository and installs what is missing.

cd "$(dirname "$0")/.."

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need_system PACKAGE...: install the system packages that are not there.
need_system() {
    missing=
    for package; do
        has_system "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || fail "please install:$missing"
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
        command -v sudo >/dev/null || fail "please install, as root:$missing"
    fi
    echo "installing:$missing"
    $as_root apt-get -qq update || echo "the package lists are as old as they are"
    # Ubuntu 24.04 and Debian 13 call libfuse2 by another name.
    if apt-cache show libfuse2t64 >/dev/null 2>&1; then
        missing=$(echo "$missing" | sed 's/libfuse2/libfuse2t64/')
    fi
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends $missing >/dev/null ||
        fail "apt-get could not install:$missing"
}

has_system() {
    case $1 in
        libfuse2) /sbin/ldconfig -p | grep -q 'libfuse\.so\.2 ' ;;
        fuse3) command -v fusermount3 >/dev/null ;;
        attr) command -v setfattr >/dev/null ;;
        vim-tiny) command -v vim.tiny >/dev/null ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# need_python EXTRA: have .venv with this package and what the extra asks for.
need_python() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed; python3 is $(python3 --version)"
    if [ ! -x .venv/bin/pip ]; then
        need_system python3-venv
        python3 -m venv --clear .venv
    fi
    # Nothing to do while setup.cfg is older than what was installed from it.
    [ ! ".venv/has-$1" -nt setup.cfg ] || return 0
    echo "installing Python packages into .venv"
    .venv/bin/pip install -q --disable-pip-version-check --use-pep517 -e ".[$1]"
    touch ".venv/has-$1"
}
