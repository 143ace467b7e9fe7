# Sourced by the scripts beside it: what a build needs, and where it goes.
#
#   need COMMAND PACKAGE     remembers a Debian package whose command is missing
#   need_build               the same for everything that a build needs; checks the Rust toolchain
#   need_go_tool NAME MODULE@VERSION   remembers a program written in Go that is missing: `cmd/NAME` of that module
#   install_missing          installs what is missing, or says what a person has to install
#   install_packages         the same for Debian packages alone, and
#   install_go_tools         for programs written in Go, which takes minutes
#   install_schemathesis     a Python program of the tests, in an environment of its own
#   run_here COMMAND ...     runs a command that stops when this script is told to stop
#
# Build output lies outside the checkout, so that a second clone reuses the compiled RocksDB: CARGO_TARGET_DIR, by
# default ~/.cache/portolan/target. Go programs are beside it in ~/.cache/portolan/tools.

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/portolan/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
tools="$HOME/.cache/portolan/tools"
# Only root's path has these on Debian, and rustup's is there after the next login only. The tools come first: their
# versions are pinned, those of the machine are not.
export PATH="$tools:$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin"

missing_packages=() missing_go_tools=()

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

# install_missing: installs what need() remembered, and ends the script when it cannot; then what need_go_tool()
# remembered, and goes on without it when it cannot, since tests that lack a program say that they are skipped.
install_missing() {
    install_packages
    install_go_tools
}

install_packages() {
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

# need_go_tool NAME MODULE@VERSION: remembers the program unless this very version is installed.
need_go_tool() {
    local pin= go
    if [ -x "$tools/$1" ] && read -r pin <"$tools/$1.pin" && [ "$pin" = "$2" ]; then return 0; fi
    missing_go_tools+=("$1 $2")
    if ! find_go; then
        need curl curl
        need unzip unzip
    fi
}

# Go's toolchain for machines that have none: the release as a module, which Go's proxy serves like any other.
go_version=1.26.8
go_sha256_x86_64=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7
go_sha256_aarch64=02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99
go_proxy="${PORTOLAN_GO_PROXY:-https://proxy.golang.org}"

# find_go: sets $go to a Go that is new enough to build what is wanted, or to fetch for itself the one that can.
find_go() {
    local minor
    for go in go "$tools/go/bin/go"; do
        command -v "$go" >/dev/null 2>&1 || continue
        minor="$(cd / && GOTOOLCHAIN=local "$go" env GOVERSION | sed -nE 's/^go1\.([0-9]+).*/\1/p')"
        if [ "${minor:-0}" -ge 24 ]; then return 0; fi
    done
    return 1
}

# install_go: puts Go's toolchain into $tools/go.
install_go() {
    local arch name sha256 work
    case "$(uname -m)" in
        x86_64) arch=amd64 sha256=$go_sha256_x86_64 ;;
        aarch64) arch=arm64 sha256=$go_sha256_aarch64 ;;
        *)
            echo "Go 1.24 or newer is needed, and none is known here for $(uname -m)." >&2
            return 1
            ;;
    esac
    name="v0.0.1-go$go_version.linux-$arch"
    echo "== installing: Go $go_version"
    work="$(mktemp -d "$tools/go.XXXXXX")" || return 1
    if curl --fail --silent --show-error --location --retry 3 -o "$work/go.zip" \
        "$go_proxy/golang.org/toolchain/@v/$name.zip" &&
        echo "$sha256  $work/go.zip" | sha256sum --check --quiet &&
        unzip -q "$work/go.zip" -d "$work" &&
        # A module's archive keeps no modes, and can hold no module of its own: Go undoes both when it unpacks one.
        chmod +x "$work/golang.org/toolchain@$name"/{bin/*,pkg/tool/*/*} &&
        find "$work" -name _go.mod -execdir mv _go.mod go.mod ';' &&
        rm -rf "$tools/go" && mv "$work/golang.org/toolchain@$name" "$tools/go"; then
        rm -rf "$work"
        go="$tools/go/bin/go"
    else
        rm -rf "$work"
        return 1
    fi
}

# install_go_tools: builds what need_go_tool() remembered. Modules and half-built packages take 3 GB; they are gone
# afterwards.
install_go_tools() {
    if [ "${#missing_go_tools[@]}" -eq 0 ]; then return 0; fi
    local tool name module go
    mkdir -p "$tools"
    if find_go || install_go; then
        for tool in "${missing_go_tools[@]}"; do
            read -r name module <<<"$tool"
            echo "== installing: $name ($module)"
            rm -f "$tools/$name" "$tools/$name.pin"
            build_go_tool "$name" "$module" || echo "could not build $name; tests that want it will be skipped" >&2
        done
        rm -rf "$tools/build"
    else
        echo "There is no Go to build these with; tests that want them will be skipped: ${missing_go_tools[*]}" >&2
    fi
    missing_go_tools=()
}

# build_go_tool NAME MODULE@VERSION: built inside the module, so that its own go.sum holds for all that it imports.
build_go_tool() (
    # For this machine, with a Go as new as the module asks for; which proxy it comes from is the user's choice.
    export GOOS= GOARCH= GOTOOLCHAIN=auto GOWORK=off GOFLAGS=-modcacherw CGO_ENABLED=0
    export GOPATH="$tools/build" GOCACHE="$tools/build/cache" GOMODCACHE="$tools/build/modules"
    cd / || return 1
    source="$("$go" mod download -json "$2" | sed -nE 's/^\t"Dir": "(.*)",?$/\1/p')"
    [ -n "$source" ] && cd "$source" &&
        "$go" build -trimpath -buildvcs=false -ldflags=-s -o "$tools/$1" "./cmd/$1" &&
        echo "$2" >"$tools/$1.pin"
)

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

# install_schemathesis: what asks the admin API whatever its description allows; from PyPI, pinned with all that it
# imports, into an environment of its own. When it cannot be had its test is skipped, and the summary says so.
install_schemathesis() {
    local home="$tools/schemathesis" pins=chaos-tests/schemathesis.txt
    if [ -x "$home/bin/schemathesis" ] && cmp -s "$pins" "$home/pins"; then return 0; fi
    echo "== installing: $(grep '^schemathesis==' "$pins") (PyPI)"
    rm -rf "$home"
    if python3 -m venv "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$pins"; then
        cp "$pins" "$home/pins"
    else
        rm -rf "$home"
        echo "could not install schemathesis; the test that wants it will be skipped" >&2
    fi
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
