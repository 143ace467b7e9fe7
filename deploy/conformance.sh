#!/usr/bin/env bash
# The official conformance suites of the OCI distribution-spec against Portolan: at a single node, behind a load
# balancer that sends each request to another node, and the same while followers are killed. Release v1.1.1, and the
# main branch with OCI_VERSION=dev; every category but OCI_DATA_SPARSE (manifests whose blobs were never pushed).
#
#   deploy/conformance.sh          builds what is missing, and runs
#
# The suites are built by Go from its module proxy, once, into ~/.cache/portolan/tools. A program that is there already
# or that is named in CONFORMANCE_RELEASE or CONFORMANCE_MAIN is taken as it is; a suite that the proxy does not give out
# is skipped, and the summary says so. Reports stay in PORTOLAN_REPORTS, by default `conformance` in the target folder.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/env.sh
. deploy/env.sh

module=github.com/opencontainers/distribution-spec/conformance
# The suite has no tags of its own: versions are those of commits, held to the hashes that go.sum has of them. Of what they
# import Go asks its checksum database.
release=v0.0.0-20250123160558-a139cc423184 # v1.1.1
release_sums="$module $release h1:7bNCAFy3pSZzsM+xTEhbhSKzYcVMVf/g8lT71MMlkjU=
$module $release/go.mod h1:DOO4RzIigGVoAksLURsDbKHpJ8zX5eEQfsmkqY39yyE=
"
main=v0.0.0-20260831232431-97274622c111
main_sums="$module $main h1:ppZPU0CrEPzyJhVggYwUIZrqh0w2lIT0esw+9ABNPA4=
$module $main/go.mod h1:3VJqdDrgz3dFdGbErNWoChcfbGpHDllEHdwJ4yi6rJk=
"

# build_suite NAME VERSION SUMS GO-COMMAND...: as a dependency of an empty module that pins it, whose go.sum begins with
# SUMS.
build_suite() {
    local name=$1 version=$2 work
    echo "== installing: $name ($module@$version)"
    work="$(mktemp -d "$tools/conformance.XXXXXX")" || return 1
    printf 'module conformance\n\ngo 1.24\n\nrequire %s %s\n' "$module" "$version" >"$work/go.mod"
    printf '%s' "$3" >"$work/go.sum"
    (
        export GOOS= GOARCH= GOTOOLCHAIN=auto GOWORK=off CGO_ENABLED=0 GOFLAGS='-mod=mod -modcacherw'
        export GOPATH="$work/go" GOCACHE="$work/cache" GOMODCACHE="$work/modules"
        cd "$work" && "$go" "${@:4}" -trimpath -buildvcs=false -ldflags=-s -o "$work/$name" "$module"
    ) && mv "$work/$name" "$tools/$name" && echo "$version" >"$tools/$name.pin"
    local status=$?
    rm -rf "$work"
    return $status
}

# have_suite NAME PROGRAM VERSION: whether it is there, in this version or put there by hand.
have_suite() {
    local pin
    if [ -n "$2" ]; then return 0; fi
    [ -x "$tools/$1" ] || return 1
    if [ ! -e "$tools/$1.pin" ]; then
        echo "$tools/$1 was put there by hand"
        return 0
    fi
    read -r pin <"$tools/$1.pin" && [ "$pin" = "$3" ]
}

need_build
need haproxy haproxy
if ! find_go; then
    need curl curl
    need unzip unzip
fi
install_missing
mkdir -p "$tools"

wanted=()
have_suite conformance-v1.1.1 "${CONFORMANCE_RELEASE:-}" "$release" || wanted+=(release)
have_suite conformance-main "${CONFORMANCE_MAIN:-}" "$main" || wanted+=(main)
if [ "${#wanted[@]}" -gt 0 ] && { find_go || install_go; }; then
    for suite in "${wanted[@]}"; do
        case $suite in
            release) build_suite conformance-v1.1.1 "$release" "$release_sums" test -c ;;
            main) build_suite conformance-main "$main" "$main_sums" build ;;
        esac || echo "could not build the suite of $suite; what wants it will be skipped" >&2
    done
fi

export PORTOLAN_BIN="${PORTOLAN_BIN:-$CARGO_TARGET_DIR/release/portolan}"
if [ "$PORTOLAN_BIN" = "$CARGO_TARGET_DIR/release/portolan" ]; then
    cargo build --release --locked -p portolan || exit 1
fi
export PORTOLAN_REPORTS="${PORTOLAN_REPORTS:-$CARGO_TARGET_DIR/conformance}"
# Only what this run counts is told below.
rm -f "$PORTOLAN_REPORTS"/*/counts.txt
# One at a time: each starts a cluster of its own on two cores.
run_here cargo test --release --locked --workspace --test black_box -- --show-output --test-threads=1 conformance::
status=$?
echo
cat "$PORTOLAN_REPORTS"/*/counts.txt 2>/dev/null
echo "reports: $PORTOLAN_REPORTS"
exit $status
