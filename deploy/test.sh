#!/usr/bin/env bash
# Every check of the project, with one summary at the end: formatting, lints, unit and integration tests, and the
# black-box tests (real processes, SIGKILL, real clients). Installs what it needs on a bare Debian machine.
#
#   deploy/test.sh                 everything
#   deploy/test.sh format lint     only these steps, of: format lint unit demo chaos faults clients conformance
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/env.sh
. deploy/env.sh
need_build
need busybox busybox-static
need skopeo skopeo
need dockerd docker.io
need podman podman
need buildah buildah
need ctr containerd
need debootstrap debootstrap
need ip iproute2
need openssl openssl
need "/usr/lib/*/faketime/libfaketimeMT.so.1" libfaketime
need curl curl
# Building these takes minutes, once, and no other step wants them.
case " ${*:-clients} " in
    *' clients '*)
        need_go_tool crane github.com/google/go-containerregistry@v0.22.1
        need_go_tool oras oras.land/oras@v1.3.3
        need_go_tool regctl github.com/regclient/regclient@v0.11.7
        need_go_tool helm helm.sh/helm/v3@v3.22.0
        need_go_tool cosign github.com/sigstore/cosign/v3@v3.1.3
        ;;
esac
python3 -c 'import ensurepip' 2>/dev/null || missing_packages+=(python3-venv)
install_packages
install_schemathesis
need_component fmt rustfmt
need_component clippy clippy

steps=("$@")
[ "${#steps[@]}" -eq 0 ] && steps=(format lint unit demo chaos faults clients conformance)
logs="$(mktemp -d -t portolan-test.XXXXXX)"
# Ctrl-C does not reach what a script runs in the background.
trap 'trap - TERM; kill -TERM 0' INT
rows=() passed=0 failed=0 skipped=0

# What a test says that cannot run here, anywhere in a line: libtest begins the line with the test's name.
says_skipped='(^|[[:space:]])skipped: .*'

# Sums cargo's "test result" lines of a log into passed, failed and skipped; a step without any counts as one test. To
# libtest a skipped test is a passed one.
count() {
    local log=$1 status=$2 p f s
    p=$(awk '/^test result:/ {n += $4} END {print n + 0}' "$log")
    f=$(awk '/^test result:/ {n += $6} END {print n + 0}' "$log")
    if [ "$p" -eq 0 ] && [ "$f" -eq 0 ]; then [ "$status" -eq 0 ] && p=1 || f=1; fi
    # A crash or a failed build leaves no line that counts it.
    [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    s=$(grep -cE "$says_skipped" "$log")
    p=$((p > s ? p - s : 0))
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    counted="$p passed, $f failed, $s skipped"
}

# Leaves out what tests said that passed. The logs have it, and stay when something failed.
without_successes() { sed -u '/^successes:$/,/^\(failures:\|test result:\)/{/^\(failures:\|test result:\)/!d}'; }

step() {
    local name=$1 started=$SECONDS status
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$logs/$name.log" | without_successes
    status=${PIPESTATUS[0]}
    count "$logs/$name.log" "$status"
    rows+=("$(printf '%-11s %-4s %5ds  %s' "$name" "$([ "$status" -eq 0 ] && echo ok || echo FAIL)" $((SECONDS - started)) "$counted")")
    return "$status"
}

# The binary that the steps below run: built once, and never an old one.
built=
build() {
    if [ -z "$built" ]; then
        built=ok
        step build cargo build --release --locked -p portolan || built=failed
    fi
    [ "$built" = ok ]
}

# The same, for nodes that can be sabotaged, and the program that breaks them, which comes with the black-box tests.
build_harness() {
    step harness black_box --no-run &&
        step sabotaged cargo build --release --locked -p portolan --features sabotage --bin portolan-sabotaged
}

# The tests of the whole workspace, or some of its targets. Always of the whole: a part of it would have other features in
# common, and most of it would be built once more.
test_workspace() { cargo test --release --locked --workspace "$@"; }

# black_box [CARGO'S ARGUMENTS] -- ARGUMENTS
black_box() { test_workspace --test black_box "$@"; }

# Most of a test is waiting. So those on the emulated WAN, of which a machine has one, run beside two at a time of the
# others; afterwards, alone, those that measure.
run_chaos() {
    local on_wan=(geo:: faults::links::) measuring=(wan:: wan_proxy:: memory:: crowd::) elsewhere=(clients:: conformance::)
    local beside=() status=0 name lane
    for name in "${on_wan[@]}" "${measuring[@]}" "${elsewhere[@]}"; do beside+=(--skip "$name"); done
    black_box --no-run || return 1
    black_box -- --show-output --test-threads=1 "${on_wan[@]}" >"$logs/on-wan.out" 2>&1 &
    lane=$!
    black_box -- --show-output --test-threads=2 "${beside[@]}" || status=1
    wait "$lane" || status=1
    cat "$logs/on-wan.out"
    black_box -- --show-output --test-threads=1 "${measuring[@]}" || status=1
    return $status
}

# Programs of Go are built while tests wait: only what nothing else wants of the processors goes to them.
go_tools=
build_go_tools() {
    [ -z "$go_tools" ] || return 0
    { chrt --idle --pid 0 "$BASHPID"; install_go_tools; } >"$logs/go-tools.out" 2>&1 &
    go_tools=$!
}

await_go_tools() {
    build_go_tools
    wait "$go_tools"
    cat "$logs/go-tools.out"
}

# Every promise under faults, and beside it, since most of both is waiting, every promise broken on purpose. The reports of
# a run that failed stay.
run_faults() {
    local reports="${PORTOLAN_CHAOS_REPORTS:-$CARGO_TARGET_DIR/chaos-reports}"
    local chaos="$CARGO_TARGET_DIR/release/portolan-chaos" status=0 sabotage
    rm -rf "$reports"
    "$chaos" --report "$reports" sabotage >"$logs/sabotage.out" 2>&1 &
    sabotage=$!
    "$chaos" --report "$reports" ci || status=1
    wait "$sabotage" || status=1
    cat "$logs/sabotage.out"
    return $status
}

run_demo() {
    local data
    data="$(mktemp -d -t portolan-demo.XXXXXX)"
    "$CARGO_TARGET_DIR/release/portolan" dev --demo --data "$data" --base-port 15001
    local status=$?
    rm -rf "$data"
    return $status
}

export PORTOLAN_BIN="$CARGO_TARGET_DIR/release/portolan"
for name in "${steps[@]}"; do
    case $name in
        format) step format cargo fmt --all --check ;;
        lint) step lint cargo clippy --release --locked --workspace --all-targets -- -D warnings ;;
        unit) step unit test_workspace --lib --bins --test it --no-fail-fast ;;
        demo) build && step demo run_demo ;;
        chaos) build && build_go_tools && step chaos run_chaos ;;
        faults) build && build_harness && step faults run_faults ;;
        # One at a time: each test starts a cluster of its own on two cores.
        clients) await_go_tools && build && step clients black_box -- --show-output --test-threads=1 clients:: ;;
        conformance) build && step conformance deploy/conformance.sh ;;
        *) echo "no such step: $name (format lint unit demo chaos faults clients conformance)" >&2; exit 2 ;;
    esac
done

# Once more, where it is found: what the tests said that failed.
sed -s -n '/^failures:$/,/^test result: \(ok\|FAILED\)/p' "$logs"/*.log 2>/dev/null
echo
echo "step        result time  tests"
printf '%s\n' "${rows[@]}"
grep -hoE "$says_skipped" "$logs"/*.log 2>/dev/null | sed 's/^[[:space:]]*//'
echo
echo "$passed passed, $failed failed, $skipped skipped"
if [ "$failed" -ne 0 ]; then
    echo "all that was said: $logs"
    exit 1
fi
rm -rf "$logs"
