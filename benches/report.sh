#!/usr/bin/env bash
# The measurements of benches/README.md: each case against the servers that it names, alternating.
#   benches/report.sh [CASE...]          all cases, or these
# ROUNDS and TIME change the three rounds of 30 s. Results: target/bench-report/CASE/report.md, with plots.
# Needs two idle cores, nginx with libnginx-mod-rtmp, and an hour or two.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace
PATH=${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH
OUT=target/bench-report

# compare NAME SCENARIO SERVER OTHER [OPTION...]
compare() {
    local name=$1 scenario=$2 server=$3 other=$4
    shift 4
    [ ${#CASES[@]} -eq 0 ] || [[ " ${CASES[*]} " == *" $name "* ]] || return 0
    case $other in limit*) ;; *) other=benches/servers/$other.toml ;; esac
    echo "== $name"
    srs-load compare "benches/scenarios/$scenario.toml" "benches/servers/$server.toml" "$other" \
        --rounds "${ROUNDS:-3}" --time "${TIME:-30s}" --report "$OUT/$name" --json "$OUT/$name.json" "$@" ||
        echo "== $name: not without faults"
}

CASES=("$@")
mkdir -p "$OUT"

# Default settings against nginx-rtmp.
for case in a-late a-prompt b-3000 b-3000-prompt b-9000 c-20000 d-2mbit f-200 g-storm h-2000 i-churn; do
    compare "$case" "$case" srs-shard-default nginx-rtmp
done
# The lower bound.
compare min-late a-late srs-shard-min_latency limit --few 100
compare min-prompt a-prompt srs-shard-min_latency limit --few 100
compare 100ms a-late srs-shard-100ms limit:100ms --few 100
compare 350ms a-late srs-shard-350ms limit:350ms --few 100
# HTTP-FLV against RTMP, of the same server.
compare e-a e-a-flv srs-shard-default srs-shard-default --other-scenario benches/scenarios/a-late.toml
compare e-d e-d-flv srs-shard-default srs-shard-default --other-scenario benches/scenarios/d-2mbit.toml
# Shards.
compare 2-shards a-late srs-shard-2-shards srs-shard-default
compare 2-cores a-unpinned srs-shard-2-cores srs-shard-1-shard
# Other servers, as far as they are here: on PATH, node-media-server in NODE_PATH.
for other in srs:srs zlmediakit:MediaServer xiu:xiu node-media-server:node; do
    command -v "${other#*:}" >/dev/null || continue
    for case in a-late a-prompt d-2mbit f-200 g-storm; do
        compare "$case-${other%:*}" "$case" srs-shard-default "${other%:*}"
    done
done
