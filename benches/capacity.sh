#!/usr/bin/env bash
# The measurements of the capacity model: what streams, writes and bytes cost one shard, and a crossing between two.
#   benches/capacity.sh
# ROUNDS and TIME change the three rounds of 12 s. Results: target/capacity/*.json, and the model on standard output.
# Needs two idle cores and half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace --examples
PATH=${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH
OUT=target/capacity
rm -rf "$OUT"
mkdir -p "$OUT"

# measure NAME SERVER STREAMS PLAYERS_OF_EACH KBPS ROUND
measure() {
    local name=$1 server=$2 streams=$3 players=$4 kbps=$5 file=$OUT/$1-$6.json
    {
        echo "pin = 1"
        echo "[[encoders]]"
        echo "url = \"{rtmp}/live/s\""
        [ "$streams" -eq 1 ] || echo "streams = $streams"
        echo "kbps = $kbps"
        echo "ramp = \"500/s\""
        if [ "$players" -gt 0 ]; then
            echo "[[players]]"
            if [ "$streams" -gt 1 ]; then
                echo "url = \"{rtmp}/live/s[0-$((streams - 1))]\""
            else
                echo "url = \"{rtmp}/live/s\""
            fi
            echo "players = $((streams * players))"
            echo "readers = \"late\""
            echo "ramp = \"1000/s\""
        fi
    } >"$OUT/$name.toml"
    echo "== $name, round $6" >&2
    srs-load run "$OUT/$name.toml" --server "benches/servers/srs-shard-$server.toml" --time "${TIME:-12s}" --json "$file" \
        >/dev/null 2>&1 || echo "== $name: not without faults" >&2
}

# The first part of a name says what the run is for, the second its cadence in ms; 0 is each message.
for round in $(seq "${ROUNDS:-3}"); do
    measure fit-0-idle min_latency 1 0 250 "$round"
    measure fit-0-streams min_latency 1000 0 250 "$round"
    measure fit-0-heavy-streams min_latency 100 0 2000 "$round"
    measure fit-0-few min_latency 1 200 250 "$round"
    measure fit-0-many min_latency 1 1500 250 "$round"
    measure fit-0-heavy min_latency 1 400 2000 "$round"
    measure fit-0-pairs min_latency 200 1 250 "$round"
    measure fit-100-pairs 100ms 200 1 250 "$round"
    measure fit-0-twenty min_latency 20 0 250 "$round"
    measure fit-100-many 100ms 1 1500 250 "$round"
    measure fit-100-heavy 100ms 1 400 2000 "$round"
    measure fit-350-many 350ms 1 3000 250 "$round"
    measure fit-350-heavy 350ms 1 600 2000 "$round"
    measure check-0-mixed min_latency 20 30 600 "$round"
    measure check-100-mixed 100ms 20 60 600 "$round"
    measure check-350-mixed 350ms 20 80 600 "$round"
    # Of 200 streams with one viewer each half have a publisher, and half a viewer, on another shard than their owner.
    measure cross-0-pairs 2-shards-min_latency 200 1 250 "$round"
done
capacity=${CARGO_TARGET_DIR:-$PWD/target}/release/examples/capacity
"$capacity" "$OUT"
