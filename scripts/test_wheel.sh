#!/bin/sh
# test_wheel.sh PYTHON WHEEL: installs the wheel into an empty environment, and uses it where there is no Rust.
set -eu

python=$1
wheel=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$wheel"
cat > "$folder/program.py" <<'PROGRAM'
import shutil
import lyredb

assert shutil.which("cargo") is None and shutil.which("rustc") is None, "this is to be tried without Rust"
with lyredb.open("shop", preset="oltp") as db:
    orders = db.family("orders", key="int", value="json")
    with db.transaction() as t:
        t.family("orders")[1] = {"item": "lyre", "strings": 7}
    db.sync()
with lyredb.open("shop", read_only=True) as db:
    assert db.family("orders")[1] == {"item": "lyre", "strings": 7}
    assert db.check().ok
PROGRAM
cd "$folder"
env -i HOME="$folder" PATH="$folder/venv/bin" LANG=C.UTF-8 "$folder/venv/bin/python" program.py
for arguments in "--version" "tunables" "presets oltp" "stats shop" "check shop"; do
    # Word splitting is meant: each is a command line.
    env -i HOME="$folder" PATH="$folder/venv/bin" LANG=C.UTF-8 lyredb $arguments > output.txt || { cat output.txt; exit 1; }
done
echo "$(basename "$wheel") works without Rust"
