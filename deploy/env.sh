# Sourced by the scripts beside it: what a build needs, and where it goes.
#
#   need COMMAND PACKAGE ...   installs Debian packages for commands that are missing
#
# Build output lies outside the checkout, so that a second clone reuses the compiled RocksDB: CARGO_TARGET_DIR, by
# default ~/.cache/portolan/target.

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/portolan/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

missing_packages=()

# need COMMAND PACKAGE: remembers PACKAGE when COMMAND (or, with a slash in it, the file pattern) is not there.
need() {
    case "$1" in
        */*) compgen -G "$1" >/dev/null && return ;;
        *) command -v "$1" >/dev/null 2>&1 && return ;;
    esac
    missing_packages+=("$2")
}

# install_missing: installs what need() remembered; says what it does.
install_missing() {
    [ "${#missing_packages[@]}" -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "These Debian packages are missing: ${missing_packages[*]}" >&2
            echo "Install them as root and run this script again." >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Not a Debian system; please install what these packages hold: ${missing_packages[*]}" >&2
        exit 1
    fi
    echo "== installing: ${missing_packages[*]}"
    "${as_root[@]}" apt-get update -qq
    # No recommends: docker.io would bring a daemon's helpers that no test uses. No service is started by the way.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
    missing_packages=()
}

# need_build: a compiler for RocksDB, libclang for its bindings, ccache so that a second profile is cheap.
need_build() {
    if ! command -v cargo >/dev/null 2>&1; then
        echo "No Rust toolchain: install one with rustup (1.90 or newer), then run this script again." >&2
        exit 1
    fi
    need g++ g++
    need make make
    need clang clang
    need '/usr/lib/llvm-*/lib/libclang.so*' libclang-dev
    need ccache ccache
    install_missing
    export CC="${CC:-ccache gcc}" CXX="${CXX:-ccache g++}"
}
