# shellcheck shell=bash
# Runs commands beside each other.
others=()
failed=0
# Run a command beside others, eight at most; `finish` waits for all and says whether one failed.
together() {
  if (( ${#others[@]} >= 8 )); then
    wait "${others[0]}" || failed=1
    others=("${others[@]:1}")
  fi
  "$@" &
  others+=($!)
}
finish() {
  local other
  for other in "${others[@]}"; do wait "$other" || failed=1; done
  return "$failed"
}
