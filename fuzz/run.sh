#!/usr/bin/env bash
# Runs the fuzz targets with libFuzzer, on a stable toolchain; needs a C++ compiler (g++) beside Rust.
#
#   fuzz/run.sh SECONDS [TARGET…]     looks for new inputs, so long for each target; those found join the corpus
#   fuzz/run.sh short [TARGET…]       so many inputs for each target, always the same ones, keeping nothing
#   fuzz/run.sh merge [TARGET…]       leaves of each corpus what covers as much as all of it
#   fuzz/run.sh cover [TARGET…]       says how much of the code each corpus covers
#
# An input that fails is left in fuzz/artifacts/TARGET and ends its target; the others go on.
# FUZZ_FLAGS holds more flags for libFuzzer, such as -jobs=2 or -timeout=5.
set -euo pipefail
cd "$(dirname "$0")"

HOST=$(rustc -vV | sed -n 's/^host: //p')
# Where cargo puts what it builds.
OUT=${CARGO_TARGET_DIR:-$PWD/target}/$HOST/release
# What cargo-fuzz passes to rustc too. With --target they reach the programs, not the build scripts.
COVERAGE=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)

# More than a corpus holds, and a few seconds for the slowest target. By number, not by time: what one machine finds
# in a run, every machine does.
SHORT_RUNS=5000

what=${1:?SECONDS, short, merge or cover}
shift
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cd fuzz_targets && ls -- *.rs | sed 's/\.rs$//')

RUSTFLAGS="${COVERAGE[*]}" CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} \
    cargo build --release --quiet --target "$HOST" "${targets[@]/#/--bin=}"

failed=()
for target in "${targets[@]}"; do
    corpus=corpus/$target
    mkdir -p "$corpus" "artifacts/$target"
    flags=(-artifact_prefix="artifacts/$target/" -rss_limit_mb=2048 -timeout=10)
    [ ! -f "dictionaries/$target.dict" ] || flags+=(-dict="dictionaries/$target.dict")
    # shellcheck disable=SC2206 # several flags
    flags+=(${FUZZ_FLAGS:-})
    log=artifacts/$target.log
    case $what in
        merge)
            rm -rf "$corpus.new"
            mkdir "$corpus.new"
            if "$OUT/$target" -set_cover_merge=1 -use_counters=0 "${flags[@]}" "$corpus.new" "$corpus" 2>"$log"; then
                rm -r "$corpus"
                mv "$corpus.new" "$corpus"
            else
                failed+=("$target")
            fi
            ;;
        short)
            fresh=$(mktemp -d)
            "$OUT/$target" -runs="$SHORT_RUNS" -seed=1 "${flags[@]}" "$fresh" "$corpus" 2>"$log" || failed+=("$target")
            rm -r "$fresh"
            ;;
        cover) "$OUT/$target" -runs=0 "${flags[@]}" "$corpus" 2>"$log" || failed+=("$target") ;;
        *) "$OUT/$target" -max_total_time="$what" "${flags[@]}" "$corpus" 2>"$log" || failed+=("$target") ;;
    esac
    printf '%-14s %4d inputs, %7d bytes: %s\n' "$target" "$(find "$corpus" -type f | wc -l)" \
        "$(find "$corpus" -type f -exec cat {} + | wc -c)" "$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1)"
    [[ " ${failed[*]:-} " != *" $target "* ]] || tail -n 30 "$log"
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "Failed: ${failed[*]}"
    exit 1
fi
