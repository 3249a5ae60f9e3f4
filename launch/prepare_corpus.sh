#!/bin/bash
# Makes the default corpus' text: about 38 MB of English prose out of Debian packages, which are downloaded and unpacked
# beside the text, not installed. What is there already is used again. Documented in docs/corpus-format.md.
#
#   launch/prepare_corpus.sh [DIRECTORY]      (default: corpora/english/text; one .txt a source)
#
# A download needs the package manager's lists (apt-get update) and no special rights.
set -euo pipefail

# What this script itself runs, beyond Debian's base system.
NEEDED_PACKAGES="perl"

here=$(cd "$(dirname "$0")" && pwd)
text=${1:-corpora/english/text}
case $text in
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "prepare_corpus: unknown option $text (see --help)" >&2; exit 2 ;;
esac

# source | package | the package's licence for the text | what it is
sources="\
essays|anarchism|GPL-2|essays: An Anarchist FAQ
psalms|sword-comm-tdavid|public domain|Spurgeon's Treasury of David
bible|sword-text-web|public domain|World English Bible
novels|r-cran-janeaustenr|public domain (package: MIT)|Jane Austen's six novels
commentary|sword-comm-mhcc|public domain|Henry's Concise Commentary
sayings|fortunes|BSD (collection)|fortune cookies"

fail() {
  echo "prepare_corpus: $1" >&2
  [ $# -lt 2 ] || echo "  $2" >&2
  exit 4
}

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo "
if ! perl -MCompress::Zlib -e 1 2>/dev/null; then
  fail "perl's Compress::Zlib is missing." "Install it: ${as_root}apt-get install -y $NEEDED_PACKAGES"
fi

mkdir -p "$text/packages"
text=$(cd "$text" && pwd)
packages=$text/packages

# One at a time: a second run waits for the first, then finds everything done.
exec 9>"$packages/lock"
flock 9

# Prints the path of a package's .deb, downloading it where there is none.
deb_of() {
  local found
  found=$(ls "$packages/$1"_*.deb 2>/dev/null | tail -n 1 || true)
  if [ -z "$found" ]; then
    mkdir -p "$packages/download"
    # As root, apt-get tells that its sandbox user cannot write here; that is harmless.
    if ! (cd "$packages/download" && apt-get -qq download "$1" 2>"$packages/apt.log"); then
      cat "$packages/apt.log" >&2
      fail "the package $1 could not be downloaded." "Refresh the package lists: ${as_root}apt-get update; then run this again."
    fi
    mv "$packages/download/$1"_*.deb "$packages/"
    found=$(ls "$packages/$1"_*.deb | tail -n 1)
  fi
  echo "$found"
}

recipe=$(cksum <"$here/corpus_text.pl")
count=$(echo "$sources" | wc -l)
started=$SECONDS
n=0
total=0
summary=""
while IFS='|' read -r source package licence title; do
  n=$((n + 1))
  deb=$(deb_of "$package")
  stamp="$(basename "$deb") $recipe"
  if [ ! -s "$text/$source.txt" ] || [ "$(head -n 1 "$packages/$source.stamp" 2>/dev/null)" != "$stamp" ]; then
    eta=""
    [ $n = 1 ] || eta=", about $(((SECONDS - started) * (count - n + 1) / (n - 1))) s left"
    echo "[$n/$count] $title ($package)$eta"
    rm -rf "$packages/unpacked"
    dpkg -x "$deb" "$packages/unpacked" || fail "$deb is damaged." "Remove it and run this again."
    perl "$here/corpus_text.pl" "$source" "$packages/unpacked" >"$text/$source.txt.partial" 2>"$packages/$source.log" ||
      { cat "$packages/$source.log" >&2; fail "$source could not be made from $deb."; }
    mv "$text/$source.txt.partial" "$text/$source.txt"
    printf '%s\n%s\n' "$stamp" "$(tail -n 1 "$packages/$source.log")" >"$packages/$source.stamp"
    rm -rf "$packages/unpacked" "$packages/$source.log"
  fi
  bytes=$(stat -c %s "$text/$source.txt")
  total=$((total + bytes))
  summary+=$(printf '%-12s %-20s %7d.%d  %9s  %s' "$source" "$package" $((bytes / 1000000)) $((bytes / 100000 % 10)) \
    "$(sed -n 2p "$packages/$source.stamp")" "$licence")$'\n'
done <<<"$sources"
rm -rf "$packages/download" "$packages/apt.log"

printf '%-12s %-20s %9s  %9s  %s\n' source package MB documents licence
printf '%s' "$summary"
printf '%-12s %-20s %7d.%d\n' total "" $((total / 1000000)) $((total / 100000 % 10))
[ $total -ge 20000000 ] || fail "the text has only $total bytes: a source has shrunk." "Remove $text and run this again."
echo "$text"
