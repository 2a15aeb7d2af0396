# shellcheck shell=bash disable=SC2154
# watch_time SHELL COMMAND: tell the shell that runs the command when its time is over, and end it after a last while.
# Uses $limit and $grace, in seconds, and of bash what version 3 has: nothing but its `read` can wait.
watch_time() {
  read -r -t "$limit" <> <(:)
  kill -USR1 "$1" 2>/dev/null || return 0
  read -r -t "$grace" <> <(:)
  kill -KILL -- "-$2" 2>/dev/null || :
}
