# shellcheck shell=bash disable=SC2154
# remove PATH...: whatever is there; where nothing is, as a rule, no process is started.
remove() {
  local path
  for path; do [[ ! -e $path && ! -L $path ]] || rm -rf -- "$path" || return; done
}

# run_stage NAME: run the function `stage`, and end with how it has ended. Uses $folder and $prefix.
run_stage() {
  local code
  # What went wrong is kept beside the attempt, since a container's log may be out of reach.
  remove "$folder/$1.log"
  stage 2>&1 | tee "$folder/$1.log" >&2
  code=${PIPESTATUS[0]}
  if (( code != 0 )); then again put_file "$folder/$1.log" "${prefix}$1.log"; fi
  exit "$code"
}
