# shellcheck shell=bash disable=SC2154
# Fetches files by the folders of S3 that they are in. Uses fetch_file, together and again.

# Seconds that a folder is listed before it is asked how much there is in it.
patience=10

# fetch_matching MOST FROM TO PATTERN...: what matches below a folder. What has not come may come by itself, so it is no
# failure if the folder has MOST objects, which take longer to list than the files to fetch; nor any other.
fetch_matching() { again match "$@" || :; }

match() {
  local most=$1 from=$2 to=$3 code=0 pattern only=() copying watching
  shift 3
  for pattern; do only+=("--include=$pattern"); done
  aws s3 cp --only-show-errors --recursive --exclude='*' "${only[@]}" "$from" "$to" &
  copying=$!
  # It must not hold up whoever reads what is said here.
  watch_listing "$most" "$from" "$copying" >/dev/null 2>&1 &
  watching=$!
  disown "$watching"
  { wait "$copying"; } 2>/dev/null || code=$?
  kill "$watching" 2>/dev/null
  if (( code == 143 )); then
    echo "$from has more than $most objects: its files are fetched one by one"
    return 0
  fi
  return "$code"
}

# watch_listing MOST FROM PROCESS: stop a process that lists a folder of so many objects.
watch_listing() {
  read -r -t "$patience" <> <(:)
  (( $(aws s3 ls --recursive "$2" | head -n "$1" | wc -l) < $1 )) || kill "$3"
}

# place URI FROM TO NAME...: put these files of a folder of S3 where they belong: those that are in FROM already, and the
# others by fetching them. Gives up when one has failed.
place() {
  local uri=$1 from=$2 to=$3 name came=()
  shift 3
  for name; do
    if [[ -f $from$name ]]; then
      came+=("$from$name")
    else
      (( failed == 0 )) || return
      together again fetch_file "$uri$name" "$to$name"
    fi
  done
  (( ${#came[@]} == 0 )) || mv -t "$to" -- "${came[@]}"
}
