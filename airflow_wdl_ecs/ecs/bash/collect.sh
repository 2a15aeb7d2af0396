# shellcheck shell=bash disable=SC2154
# What stage-out keeps, and how it says so. Uses $folder, $work and remove; see ``staging``.
shopt -s nullglob
files=() directories=() problems=() globs=() logs=()
declare -A kept=() held=()
stdout_size=0 stderr_size=0

# Each function that gives a text gives it in REPLY, since a subshell per file would be slow.
json() {
  local LC_ALL=C s=$1 code char escape
  s=${s//\\/\\\\}
  s=${s//\"/\\\"}
  if [[ $s == *[$'\x01'-$'\x1f']* ]]; then
    for (( code = 1; code < 32; code++ )); do
      printf -v escape '\\x%02x' "$code"
      printf -v char '%b' "$escape"
      printf -v escape '\\u%04x' "$code"
      s=${s//"$char"/"$escape"}
    done
  fi
  REPLY="\"$s\""
}

json_array() {
  local item out=
  for item in "$@"; do json "$item"; out+="${out:+,}$REPLY"; done
  REPLY="[$out]"
}

# A path relative to the work directory without ".", ".." and "//"; fails if it leads out of the work directory.
normal() {
  local path=$1 part out=
  if [[ $path == /* ]]; then
    [[ $path == "$work"/* ]] || return 1
    path=${path#"$work"/}
  fi
  path=$path/
  while [[ -n $path ]]; do
    part=${path%%/*}
    path=${path#*/}
    case $part in
      '' | .) ;;
      ..) [[ -n $out ]] || return 1; [[ $out == */* ]] && out=${out%/*} || out= ;;
      *) out+="${out:+/}$part" ;;
    esac
  done
  REPLY=$out
}

keep_file() {
  if [[ -z ${kept["/$1"]+x} ]]; then kept["/$1"]=1; files+=("$1"); fi
}

keep_folder() {
  local at=$1 entry target
  [[ -z ${held["/$at"]+x} ]] || return 0
  held["/$at"]=1
  shopt -s dotglob
  local entries=("$work${at:+/$at}"/*)
  shopt -u dotglob
  for entry in "${entries[@]}"; do
    if [[ -d $entry ]]; then
      if [[ -L $entry ]]; then
        target=$(realpath -- "$entry")
        if [[ $target/ != "$root"/* ]]; then
          problems+=("${entry#"$work"/} is a link that leads out of the task's folder")
          continue
        elif [[ $(realpath -- "${entry%/*}")/ == "$target"/* ]]; then
          problems+=("${entry#"$work"/} is a link to a folder around it")
          continue
        fi
      fi
      keep_folder "${entry#"$work"/}"
    else
      keep_file "${entry#"$work"/}"
    fi
  done
}

keep_path() {
  local path=$work${1:+/$1}
  if [[ -d $path ]]; then
    if [[ $(realpath -- "$path")/ != "$root"/* ]]; then
      problems+=("$1 is a link that leads out of the task's folder")
      return
    fi
    directories+=("$1")
    keep_folder "$1"
  elif [[ -e $path || -L $path ]]; then
    keep_file "$1"
  fi
}

# keep_glob PATTERN VARIANT...: the variants are what brace expansion makes of the pattern.
keep_glob() {
  local pattern=$1 variant match matches=() IFS=
  shift
  for variant in "$@"; do
    # Not quoted: this is where a pattern is expanded. With an empty IFS nothing else happens to it.
    for match in $variant; do
      if [[ -f $match ]]; then
        if normal "$match"; then
          matches+=("$REPLY")
          keep_file "$REPLY"
        else
          problems+=("$match is outside the work directory")
        fi
      elif [[ -L $match && ! -e $match ]]; then
        problems+=("$match is a link to nothing that the task's folder holds")
      fi
    done
  done
  json "$pattern"
  pattern=$REPLY
  json_array "${matches[@]}"
  globs+=("$pattern:$REPLY")
}

# Leave out of `files` what cannot be kept, and say why.
sift() {
  local file path found=() real=() paths=() from index LC_ALL=C
  local key=${prefix#s3://*/}work/
  for file in "${files[@]}"; do
    path=$work/$file
    if (( ${#key} + ${#file} > 1024 )); then
      problems+=("${file:0:200}... has a path of ${#file} bytes, with which S3's key would have more than 1024")
    elif [[ ! -e $path ]]; then
      problems+=("$file is a link to nothing that the task's folder holds")
    elif [[ ! -f $path ]]; then
      problems+=("$file is neither a file nor a folder")
    elif [[ ! -r $path ]]; then
      problems+=("$file cannot be read")
    else
      found+=("$file")
      paths+=("$path")
    fi
  done
  files=()
  for (( from = 0; from < ${#found[@]}; from += 500 )); do
    mapfile -t -d '' real < <(realpath -z -- "${paths[@]:from:500}")
    for index in "${!real[@]}"; do
      if [[ ${real[index]} == "$root"/* ]]; then
        files+=("${found[from + index]}")
      else
        problems+=("${found[from + index]} is a link that leads out of the task's folder")
      fi
    done
  done
}

# A tree of links that looks like what is to be uploaded, so that one process uploads everything.
link_tree() {
  local file parent index from sources=()
  local -A members=()
  mkdir -p -- "$upload/work" || return
  linked=$(( ${#files[@]} + ${#logs[@]} ))
  (( ${#logs[@]} == 0 )) || ln -s -t "$upload" -- "${logs[@]}" || return
  for index in "${!files[@]}"; do
    file=/${files[index]}
    members["${file%/*}/"]+="$index "
  done
  for parent in "${!members[@]}"; do
    mkdir -p -- "$upload/work$parent" || return
    sources=()
    for index in ${members["$parent"]}; do sources+=("$work/${files[index]}"); done
    for (( from = 0; from < ${#sources[@]}; from += 500 )); do
      ln -s -t "$upload/work$parent" -- "${sources[@]:from:500}" || return
    done
  done
}

# The files with what the command said; a link that it left here would be followed to what only this container has.
find_logs() {
  local name
  logs=()
  for name in stdout stderr; do
    if [[ -f $folder/$name && ! -L $folder/$name ]]; then logs+=("$folder/$name"); fi
  done
}

# The size of each of `files`, and of all together; and of `logs`.
measure() {
  local from file index paths=() some=()
  if (( ${#logs[@]} > 0 )); then mapfile -t some < <(stat -L -c %s -- "${logs[@]}"); fi
  for index in "${!some[@]}"; do
    if [[ ${logs[index]} == */stdout ]]; then stdout_size=${some[index]}; else stderr_size=${some[index]}; fi
  done
  sizes=() total=0
  for file in "${files[@]}"; do paths+=("$work/$file"); done
  for (( from = 0; from < ${#paths[@]}; from += 500 )); do
    mapfile -t some < <(stat -L -c %s -- "${paths[@]:from:500}")
    sizes+=("${some[@]}")
  done
  (( ${#sizes[@]} == ${#files[@]} )) || return
  for file in "${sizes[@]}"; do total=$(( total + file )); done
}

# Upload what is kept, and see that S3 has as much of it: where the tool does not say so of every file, by a listing.
keep() {
  local objects bytes
  put_folder "$upload" "$prefix" || return
  (( ${#files[@]} > 0 && REPLY != linked )) || return 0
  stored "${prefix}work/"
  read -r objects bytes <<<"$REPLY"
  if (( ${objects:-0} < ${#files[@]} || ${bytes:-0} < total )); then
    echo "of ${#files[@]} files with $total bytes, S3 has ${objects:-0} with ${bytes:-0} bytes" >&2
    return 1
  fi
}

# When things happened, as JSON in REPLY. The command could write what it likes into the file: only numbers are taken.
times_json() {
  local name moment out=
  mark stage_out_ended
  if [[ -f $folder/times ]]; then
    while IFS=' ' read -r name moment; do
      if [[ $name =~ ^[a-z_]{1,20}$ && $moment =~ ^[1-9][0-9]{8,11}(\.[0-9]{1,9})?$ ]]; then
        out+="${out:+,}\"$name\":$moment"
      fi
    done <"$folder/times"
  fi
  REPLY="{$out}"
}

# The end of what was noted of memory and CPU time, as a JSON text in REPLY. The command could write into the file, or
# leave a link in its place: of its text that is left which figures may have, for who reads the result to judge.
usage_json() {
  local LC_ALL=C text=
  if [[ -f $folder/usage && ! -L $folder/usage ]]; then
    IFS= read -r -N 16384 text <"$folder/usage"
    if (( ${#text} > 2000 )); then text=${text: -2000}; fi
    text=${text//$'\n'/;}
    text=${text//[!a-z0-9_ .,;]/}
  fi
  REPLY="\"$text\""
}

write_result() {
  local index manifest=() out=
  for index in "${!files[@]}"; do
    json "${files[index]}"
    manifest+=("{\"path\":$REPLY,\"size\":${sizes[index]}}")
  done
  local IFS=,
  out="{\"exit_code\":$exit_code,\"files\":[${manifest[*]}],"
  json_array "${directories[@]}"
  out+="\"directories\":$REPLY,\"globs\":{${globs[*]}},"
  out+="\"stdout_size\":$stdout_size,\"stderr_size\":$stderr_size,"
  times_json
  out+="\"times\":$REPLY,"
  usage_json
  out+="\"usage\":$REPLY,"
  json_array "${problems[@]}"
  printf '%s' "$out\"problems\":$REPLY}" >"$folder/result.json"
}

# Keep what is `wanted` of a command that has `succeeded`, and write the result last.
stage() {
  mark stage_out_started "${began-}"
  upload=$folder/upload
  cd -P -- "$folder" || return
  root=$PWD
  # The command could write here, and left in place of these a link to somewhere else.
  remove "$upload" result.json || return
  exit_code=-1
  # The command could write here: no link is followed, and bash would evaluate what is in brackets as a command.
  if [[ -f $folder/exit_code && ! -L $folder/exit_code ]]; then read -r exit_code <"$folder/exit_code"; fi
  if [[ ! $exit_code =~ ^(0|[1-9][0-9]{0,2})$ ]]; then exit_code=-1; fi
  cd "$work" || return
  if succeeded; then
    wanted
    sift || return
  fi
  find_logs
  link_tree || return
  measure || return
  again keep || return
  write_result || return
  again put_file "$folder/result.json" "${prefix}result.json"
}
