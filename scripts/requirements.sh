#!/bin/sh
# Prints a Python that will do; says in a line what the machine lacks, and fails. With "fuzz", looks for what fuzzing takes too.
set -eu

lacking() {
    echo "lyredb: $1" >&2
    exit 1
}

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || lacking "Python 3.10 or newer is needed and was not found on the PATH (https://www.python.org/downloads/)"
"$python" -c 'import ensurepip, venv' 2>/dev/null || lacking "$python lacks the venv module (Debian, Ubuntu: apt-get install python3-venv)"

command -v cargo >/dev/null || lacking "a Rust toolchain is needed and cargo was not found on the PATH (https://rustup.rs)"
command -v cc >/dev/null || lacking "a C compiler is needed and cc was not found on the PATH (Debian, Ubuntu: apt-get install build-essential)"
if [ "${1:-}" = fuzz ]; then
    command -v "${CXX:-c++}" >/dev/null ||
        lacking "fuzzing takes a C++ compiler and c++ was not found on the PATH (Debian, Ubuntu: apt-get install build-essential)"
fi
wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
found=$(cargo --version | sed 's/cargo \([0-9]*\.[0-9]*\).*/\1/')
oldest=$(printf '%s\n%s\n' "$wanted" "$found" | sort -t. -k1,1n -k2,2n | head -n 1)
[ "$oldest" = "$wanted" ] || lacking "Rust $wanted or newer is needed and cargo is $found (rustup update)"

echo "$python"
