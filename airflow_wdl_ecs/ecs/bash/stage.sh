# shellcheck shell=bash disable=SC2154
# run_stage NAME: run the function `stage`, and end with how it has ended. Uses $folder and $prefix.
run_stage() {
  local code
  # What went wrong is kept beside the attempt, since a container's log may be out of reach.
  rm -rf -- "$folder/$1.log"
  stage 2>&1 | tee "$folder/$1.log" >&2
  code=${PIPESTATUS[0]}
  if (( code != 0 )); then again put_file "$folder/$1.log" "${prefix}$1.log"; fi
  exit "$code"
}
