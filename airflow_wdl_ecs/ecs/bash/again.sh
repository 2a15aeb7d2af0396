# shellcheck shell=bash
# again COMMAND...: three times at most, since a connection may break; once where S3 says that it would be in vain.
again() {
  local said tries
  for (( tries = 1; ; tries++ )); do
    if said=$("$@" 2>&1); then
      [[ -z $said ]] || echo "$said" >&2
      return 0
    fi
    echo "$said" >&2
    if (( tries == 3 )) || [[ $said =~ 40[134]|NoSuch|AccessDenied|Forbidden|does\ not\ exist|no\ such\ file|No\ space ]]
    then
      return 1
    fi
    echo "trying again" >&2
    sleep "$(( tries * 2 ))"
  done
}
