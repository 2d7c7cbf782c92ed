#!/usr/bin/env bash
# Runs every test; first installs what they need and this machine lacks (Debian or Ubuntu, as root or with sudo).
# Prints what failed, and ends with 1 if anything did. Safe to run again: nothing is installed twice.
set -euo pipefail
cd "$(dirname "$0")/.."

RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
# What the tests call, each with the package that brings it.
NEEDS=(
    cc:gcc
    c++:g++ # libFuzzer is built from source
    git:git # a build script of glommio calls it
    curl:curl
    openssl:openssl
    ffmpeg:ffmpeg
    ffprobe:ffmpeg
    rtmpdump:rtmpdump
    gst-launch-1.0:gstreamer1.0-tools
    chromium:chromium
    faketime:faketime
    prlimit:util-linux
    python3:python3
)
# Elements of GStreamer that the tests use, each with its package.
ELEMENTS=(
    videotestsrc:gstreamer1.0-plugins-base
    flvmux:gstreamer1.0-plugins-good
    rtmp2sink:gstreamer1.0-plugins-bad
    avenc_aac:gstreamer1.0-libav
)

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

missing_packages() {
    local need
    for need in "${NEEDS[@]}"; do
        command -v "${need%%:*}" >/dev/null || echo "${need#*:}"
    done
    # A C compiler without the C library's headers builds nothing.
    echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || echo libc6-dev
    for need in "${ELEMENTS[@]}"; do
        gst-inspect-1.0 --exists "${need%%:*}" 2>/dev/null || echo "${need#*:}"
    done
    has_python_packages || python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "Not root, and there is no sudo. As root: $*"
    fi
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages | sort -u)
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        die "No apt-get here. Install by hand what these Debian packages hold: ${packages[*]}"
    echo "Installing: ${packages[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
}

check_rust() {
    local have
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    command -v cargo >/dev/null ||
        die "There is no Rust toolchain here. Install $RUST or newer, for instance with rustup:" \
            "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$RUST" "$have" | sort -V | head -n1)" = "$RUST" ] ||
        die "Rust $have is too old, $RUST is needed: rustup update stable"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ||
        die "rustfmt or clippy is missing: rustup component add rustfmt clippy"
}

# Debian 12's ffmpeg 5.1 knows no HEVC in RTMP; imageio-ffmpeg holds a current binary. schemathesis asks the API what its
# OpenAPI document permits. Tests find them by FFMPEG_NEW and SCHEMATHESIS, or as python3 and the shell do.
PYTHON_PACKAGES=(imageio-ffmpeg schemathesis==4.32.5)

has_python_packages() {
    python3 -c 'import imageio_ffmpeg' 2>/dev/null && command -v schemathesis >/dev/null
}

python_packages() {
    local venv=$PWD/target/test-venv
    if ! has_python_packages; then
        [ -x "$venv/bin/pip" ] || python3 -m venv --clear "$venv"
        PATH="$venv/bin:$PATH"
        has_python_packages || pip install --quiet --disable-pip-version-check "${PYTHON_PACKAGES[@]}"
    fi
    FFMPEG_NEW=$(python3 -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
    SCHEMATHESIS=$(command -v schemathesis)
    export PATH FFMPEG_NEW SCHEMATHESIS
}

FAILED=()
step() {
    local began=$SECONDS
    printf '\n== %s\n' "$*"
    if "$@"; then
        echo "== ok, $((SECONDS - began)) s: $*"
    else
        echo "== FAILED, $((SECONDS - began)) s: $*"
        FAILED+=("$*")
    fi
}

install_packages
check_rust
python_packages
echo "Rust $(rustc --version | cut -d' ' -f2), ffmpeg $(ffmpeg -version | sed -n '1s/^ffmpeg version \([^ ]*\).*/\1/p')," \
    "current ffmpeg $("$FFMPEG_NEW" -version | sed -n '1s/^ffmpeg version \([^ ]*\).*/\1/p')," \
    "Linux $(uname -r), $(nproc) cores"

step cargo fmt --all --check
step cargo clippy --workspace --all-targets -- -D warnings
step env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
# Everything with the panics and stalls on demand that two tests need: one build less than testing both ways.
step cargo test --workspace --no-fail-fast --features srs-shard/fault-injection
# A few thousand inputs for each target; the tests above replayed what is known already.
step fuzz/run.sh short

if [ "${#FAILED[@]}" -gt 0 ]; then
    printf '\nFailed:\n'
    printf '  %s\n' "${FAILED[@]}"
    exit 1
fi
printf '\nAll passed in %d s.\n' "$SECONDS"
