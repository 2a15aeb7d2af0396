# shellcheck shell=bash disable=SC2154
# When it is, and when something happened to the attempt. Uses $folder, and of bash what version 3 has.

# The time in REPLY, in seconds since the epoch; nothing where neither this bash nor the image can tell.
now() {
  # Bash 5 knows fractions, and writes them as the locale does; bash 4.2 knows whole seconds.
  REPLY=${EPOCHREALTIME-}
  REPLY=${REPLY/,/.}
  if [[ -z $REPLY ]]; then
    printf -v REPLY '%(%s)T' -1 2>/dev/null || REPLY=$(date +%s 2>/dev/null) || REPLY=
  fi
}

# mark NAME [MOMENT]: note when something happened. A full disk must not fail the command.
mark() {
  if [[ -n ${2-} ]]; then REPLY=${2/,/.}; else now; fi
  { printf '%s %s\n' "$1" "$REPLY" >>"$folder/times"; } 2>/dev/null || :
}
