#!/usr/bin/env bash
# Builds Portolan and shows its main job on this machine: three regions, a push in the first, pulls in the last, the
# first region killed, everything pulled again, a push after the election, the dead region back.
#
#   deploy/demo.sh            the demo, then everything is cleaned up
#   deploy/demo.sh --keep     the cluster stays up afterwards, its data in ./portolan-dev: try docker push
#                             localhost:5001/... by hand; Ctrl-C stops it
#
# Further options go to `portolan dev` (see `portolan dev --help`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/env.sh
. deploy/env.sh
need_build
# The demo's image can be run where there is a static busybox; nothing else depends on it.
if can_install; then need busybox busybox-static; fi
install_missing

echo "== building (the first time compiles RocksDB: some ten minutes on two cores)"
cargo build --release --locked -p portolan

data=()
case " $* " in
    *" --keep "* | *" --data "* | *" --data="* | *" --help "* | *" -h "*) ;;
    *)
        data=(--data "$(mktemp -d -t portolan-demo.XXXXXX)")
        trap 'rm -rf "${data[1]}"' EXIT
        ;;
esac
run_here "$CARGO_TARGET_DIR/release/portolan" dev --demo "${data[@]}" "$@"
