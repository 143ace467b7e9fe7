#!/usr/bin/env bash
# Builds Portolan and shows its main job on this machine: three regions, a push in the first, pulls in the last, the
# first region killed, everything pulled again, a push after the election, the dead region back.
#
#   deploy/demo.sh            the demo, then everything is cleaned up
#   deploy/demo.sh --wan      the same across three continents: each region in its own network namespace, with round
#                             trips of 80, 180 and 220 ms and 1 Gbit/s between them (wants root)
#   deploy/demo.sh --keep     the cluster stays up afterwards, its data in ./portolan-dev: try docker push
#                             localhost:5001/... by hand; Ctrl-C stops it
#
# Further options go to `portolan dev` (see `portolan dev --help`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/env.sh
. deploy/env.sh

wan=() arguments=()
for argument in "$@"; do
    case "$argument" in
        --wan) wan=(--launcher 'ip netns exec wan-{region}' --address '10.77.{r}.{i}') ;;
        *) arguments+=("$argument") ;;
    esac
done
set -- "${arguments[@]}"
if [ "${#wan[@]}" -gt 0 ] && [ "$(id -u)" -ne 0 ]; then
    echo "--wan makes network namespaces, which wants root." >&2
    exit 1
fi

need_build
if [ "${#wan[@]}" -gt 0 ]; then need ip iproute2; fi
# The demo's image can be run where there is a static busybox; nothing else depends on it.
if can_install; then need busybox busybox-static; fi
install_missing

echo "== building (the first time compiles RocksDB: some ten minutes on two cores)"
cargo build --release --locked -p portolan
bin="$CARGO_TARGET_DIR/release"

data=() wan_is_up=
clean_up() {
    # What fails here must not keep the rest from being cleaned up.
    if [ -n "$wan_is_up" ]; then
        "$bin/portolan-wan" status || true
        "$bin/portolan-wan" down || true
    fi
    if [ "${#data[@]}" -gt 0 ]; then rm -rf "${data[1]}"; fi
}
trap clean_up EXIT

case " $* " in
    *" --keep "* | *" --data "* | *" --data="* | *" --help "* | *" -h "*) ;;
    *) data=(--data "$(mktemp -d -t portolan-demo.XXXXXX)") ;;
esac
if [ "${#wan[@]}" -gt 0 ]; then
    cargo build --release --locked -p portolan-chaos-tests --bin portolan-wan
    echo "== the emulated WAN"
    "$bin/portolan-wan" up chaos-tests/topologies/three-continents.toml
    wan_is_up=yes
fi
run_here "$bin/portolan" dev --demo "${data[@]}" "${wan[@]}" "$@"
