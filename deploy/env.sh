# Sourced by the scripts beside it: what a build needs, and where it goes.
#
#   need COMMAND PACKAGE     remembers a Debian package whose command is missing
#   need_build               the same for everything that a build needs; checks the Rust toolchain
#   install_missing          installs what is missing, or says what a person has to install
#   run_here COMMAND ...     runs a command that stops when this script is told to stop
#
# Build output lies outside the checkout, so that a second clone reuses the compiled RocksDB: CARGO_TARGET_DIR, by
# default ~/.cache/portolan/target.

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/portolan/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
# Only root's path has these on Debian, and rustup's is there after the next login only.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin"

missing_packages=()

# need COMMAND PACKAGE: remembers PACKAGE when COMMAND (or, with a slash in it, the file pattern) is not there.
need() {
    case "$1" in
        */*) if compgen -G "$1" >/dev/null; then return 0; fi ;;
        *) if command -v "$1" >/dev/null 2>&1; then return 0; fi ;;
    esac
    missing_packages+=("$2")
}

# can_install: whether this user can install packages at all.
can_install() {
    command -v apt-get >/dev/null 2>&1 && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1; }
}

# install_missing: installs what need() remembered; ends the script when it cannot.
install_missing() {
    if [ "${#missing_packages[@]}" -eq 0 ]; then return 0; fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Not a Debian system; please install what these packages hold: ${missing_packages[*]}" >&2
        exit 1
    fi
    if ! can_install; then
        echo "These Debian packages are missing, and there is no sudo to install them with. As root:" >&2
        echo "  apt-get install --no-install-recommends ${missing_packages[*]}" >&2
        echo "Then run this script again." >&2
        exit 1
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    echo "== installing: ${missing_packages[*]}"
    # No recommends: docker.io would bring a daemon's helpers that no test uses. No service is started by the way.
    if ! { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null; }; then
        echo "apt-get could not install: ${missing_packages[*]}" >&2
        exit 1
    fi
    missing_packages=()
}

# need_build: a Rust toolchain, a compiler for RocksDB, libclang for its bindings, ccache so that a second target
# folder is cheap.
need_build() {
    local have=0
    if command -v rustc >/dev/null 2>&1 && command -v cargo >/dev/null 2>&1; then
        have="$(rustc --version | sed -nE 's/^rustc 1\.([0-9]+)\..*/\1/p')"
    fi
    if [ "${have:-0}" -lt 90 ]; then
        echo "Rust 1.90 or newer is needed, and $(rustc --version 2>/dev/null || echo none) is here." >&2
        echo "Install it as https://rustup.rs says (or: rustup update stable), then run this script again." >&2
        exit 1
    fi
    need g++ g++
    need make make
    need clang clang
    need '/usr/lib/llvm-*/lib/libclang*.so*' libclang-dev
    need ccache ccache
    export CC="${CC:-ccache gcc}" CXX="${CXX:-ccache g++}"
}

# need_component COMMAND COMPONENT: a part of the Rust toolchain that a minimal one lacks.
need_component() {
    if cargo "$1" --version >/dev/null 2>&1; then return 0; fi
    if ! command -v rustup >/dev/null 2>&1; then
        echo "cargo $1 is missing; install $2 for your Rust toolchain." >&2
        exit 1
    fi
    echo "== installing: $2 (rustup)"
    rustup component add "$2" || exit 1
}

# run_here: Ctrl-C reaches the command from the terminal; SIGTERM and SIGHUP are passed on. Either way its end is
# awaited.
run_here() {
    "$@" <&0 &
    local pid=$! status=0
    trap : INT
    trap 'kill -TERM '"$pid"' 2>/dev/null || true' TERM HUP
    wait "$pid" || status=$?
    while kill -0 "$pid" 2>/dev/null; do
        status=0
        wait "$pid" || status=$?
    done
    trap - INT TERM HUP
    return "$status"
}
