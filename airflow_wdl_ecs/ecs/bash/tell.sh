# shellcheck shell=bash disable=SC2154
# Copies what the command says to the container's log while it runs: all of its stderr, and the beginning of its
# stdout, which may be data. The command itself writes to files only, so that a log that takes its time never holds it
# up, and what it wrote is whole. Uses $folder, and of bash what version 3 has.

# Characters that a line of the log has at most, and characters of stdout that are copied.
longest_line=8192
stdout_left=262144
said_out='' said_err=''

# Copy what has come since the last time. With an argument, also a line that has not ended.
tell_new() {
  local line
  while IFS= read -r -n "$longest_line" -u 8 line; do
    printf '%s\n' "$said_err$line"
    said_err=
  done >&2
  said_err+=$line
  while (( stdout_left > 0 )) && IFS= read -r -n "$longest_line" -u 7 line; do
    printf '%s\n' "$said_out$line"
    stdout_left=$(( stdout_left - ${#line} - 1 ))
    said_out=
    line=
    if (( stdout_left <= 0 )); then echo '(stdout goes on in its file in S3)'; fi
  done
  said_out+=$line
  if [[ -n ${1-} ]]; then
    [[ -z $said_err ]] || printf '%s\n' "$said_err" >&2
    [[ -z $said_out ]] || printf '%s\n' "$said_out"
  fi
}

# Copy until somebody writes a line into file descriptor 6, then what is left, and say in 5 that all is told.
tell() {
  local pause=0.5 word
  if (( BASH_VERSINFO[0] < 4 )); then pause=1; fi
  # It outlives a stop, so that the last words of the command are told.
  trap '' TERM INT
  until read -r -t "$pause" -u 6 word; do tell_new; done
  tell_new all
  echo told >&5
}
