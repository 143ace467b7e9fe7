#!/usr/bin/env bash
# Measures Portolan on this machine, beside Debian's docker-registry where both do the same.
#
#   benches/run.sh                     every scenario
#   benches/run.sh start failover      only these, of: start memory transfer failover
#   benches/run.sh --json FILE ...     the figures as JSON too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/env.sh
. deploy/env.sh
need_build
need docker-registry docker-registry
install_missing
cargo build --release --locked -p portolan -p portolan-benches
export PORTOLAN_BIN="$CARGO_TARGET_DIR/release/portolan"
exec "$CARGO_TARGET_DIR/release/portolan-bench" "$@"
