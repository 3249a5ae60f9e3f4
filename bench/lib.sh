# shellcheck shell=bash
# What the bench scripts share. Sourced by scripts that run in the repository's root.

need_program() {
  [ -x build/headroom ] || { echo "$0: build/headroom is missing; build it first (launch/quickstart.sh, or ninja -C build headroom)" >&2; exit 2; }
}

# last_json COMMAND...: runs it, prints the last line of its output, which must be JSON; on failure prints everything.
last_json() {
  local output
  if ! output=$("$@" 2>&1); then
    echo "$0: failed: $*" >&2
    sed 's/^/  | /' <<<"$output" >&2
    return 1
  fi
  output=$(grep -a '^{.*}$' <<<"$output" | tail -n 1) || { echo "$0: no JSON line from: $*" >&2; return 1; }
  echo "$output"
}
