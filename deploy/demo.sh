#!/usr/bin/env bash
# Builds Portolan and shows its main job on this machine: three regions, a push in the first, pulls in the last, the
# first region killed, everything pulled again, a push after the election, the dead region back.
#
#   deploy/demo.sh            the demo, then everything is cleaned up
#   deploy/demo.sh --keep     the cluster stays up afterwards: try docker push localhost:5001/... by hand
#
# Further options go to `portolan dev` (see `portolan dev --help`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/env.sh
. deploy/env.sh
need_build
need busybox busybox-static
install_missing

echo "== building (the first time compiles RocksDB: some ten minutes on two cores)"
cargo build --release --locked -p portolan

data="$(mktemp -d -t portolan-demo.XXXXXX)"
trap 'rm -rf "$data"' EXIT
"$CARGO_TARGET_DIR/release/portolan" dev --demo --data "$data" "$@"
