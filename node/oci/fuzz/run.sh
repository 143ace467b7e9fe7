#!/usr/bin/env bash
# Fuzzes, with libFuzzer, and keeps what it finds. Wants `cargo install cargo-fuzz`; the stable toolchain will do.
#
#   node/oci/fuzz/run.sh                      every target for ten minutes, one after the other
#   node/oci/fuzz/run.sh -t 60 -j 2 range     these targets for a minute, two at a time
#   node/oci/fuzz/run.sh --keep [TARGET...]   adds what reaches new code to corpus/, which the tests replay
#
# A finding ends its target and is printed as a file. Once it is mended, move the file to regressions/TARGET. Everything
# else that is found stays in ~/.cache/portolan/fuzz-corpus, and the next run goes on from there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../../../deploy/env.sh
. ../../deploy/env.sh
export RUSTC_BOOTSTRAP=1
found="$HOME/.cache/portolan/fuzz-corpus"
built="$HOME/.cache/portolan/fuzz"
kept="$PWD/fuzz/corpus"
most=300

keep=
seconds=600
jobs=1
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --keep) keep=1 ;;
        -t) seconds=$2 && shift ;;
        -j) jobs=$2 && shift ;;
        -*) sed -n '2,9p' fuzz/run.sh >&2 && exit 2 ;;
        *) targets+=("$1") ;;
    esac
    shift
done
if [ "${#targets[@]}" -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

cargo fuzz build --target-dir "$built" >&2
binaries="$built/$(rustc -vV | sed -n 's/^host: //p')/release"

# fuzz TARGET: on from what was found before, with what is kept beside it.
fuzz() {
    local target=$1 words=() known=("fuzz/corpus/$1")
    mkdir -p "$found/$target" "fuzz/artifacts/$target"
    if [ -f "fuzz/dictionaries/$target.dict" ]; then words=("-dict=fuzz/dictionaries/$target.dict"); fi
    if [ -d "fuzz/regressions/$target" ]; then known+=("fuzz/regressions/$target"); fi
    nice -n 19 "$binaries/$target" "${words[@]}" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 \
        -max_len=4096 -len_control=0 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" \
        "$found/$target" "${known[@]}" >"$found/$target.log" 2>&1 ||
        { echo "$target: a finding" && tail -n 40 "$found/$target.log" && return 1; }
    echo "$target: $(grep -aE '^#[0-9]+.*DONE' "$found/$target.log")"
}

# keep TARGET: adds the fewest inputs that reach edges which the kept ones do not. Where that is more than the replay
# takes, the longest of them: they reach most.
keep() {
    local target=$1 merged
    merged="$(mktemp -d)"
    find "fuzz/corpus/$target" -type f -exec cp -t "$merged" {} +
    nice -n 19 "$binaries/$target" -set_cover_merge=1 -use_counters=0 "$merged" "$found/$target" >"$found/$target.log" 2>&1 ||
        { tail -n 40 "$found/$target.log" && return 1; }
    # Those that are kept already come first, so that they stay.
    (cd "$merged" && find . -type f -printf '%s %P\n' | while read -r size name; do
        if [ -e "$kept/$target/$name" ]; then echo "1 $size $name"; else echo "0 $size $name"; fi
    done) | sort -rn -k1,1 -k2,2 | awk -v most="$most" 'NR <= most {print $3}' |
        xargs -r -I{} cp "$merged/{}" "$kept/$target/"
    rm -rf "$merged"
    echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) files, $(cat "fuzz/corpus/$target"/* | wc -c) bytes"
}

mkdir -p "$found"
for target in "${targets[@]}"; do mkdir -p "fuzz/corpus/$target"; done
if [ -n "$keep" ]; then
    for target in "${targets[@]}"; do keep "$target"; done
    exit
fi
export -f fuzz
export found binaries seconds
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'set -euo pipefail; fuzz {}'
