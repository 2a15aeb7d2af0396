# shellcheck shell=bash disable=SC2154
# Measures the memory and the CPU time that the command uses, and notes them in `usage`. Uses $folder, and of bash what
# version 3 has; beside the one process that looks now and then, nothing is started. What cannot be read is left out.

# The folder of this container's own control group in REPLY; nothing where there is none, or where it may hold more.
own_group() {
  local number kind path member try found=
  REPLY=
  # Only the first process of a container can say what is the container's: elsewhere a group is the machine's.
  (( $$ == 1 )) || return 0
  while IFS=: read -r number kind path; do
    case $number:$kind in
      0:) try=/sys/fs/cgroup${path%/} ;;
      # Version 1 does not show processes outside of the container, so ECS itself must say that this is one of its own.
      *:memory) if [[ -n ${ECS_CONTAINER_METADATA_URI_V4-} ]]; then try=/sys/fs/cgroup/memory; else continue; fi ;;
      *) continue ;;
    esac
    [[ -r $try/memory.stat && ( -e $try/memory.current || -e $try/memory.usage_in_bytes ) ]] || continue
    # A process that this container cannot see is a 0.
    while read -r member; do
      case $member in
        0) continue 2 ;;
        1) found=1 ;;
      esac
    done <"$try/cgroup.procs"
    if [[ -n $found ]]; then REPLY=$try; return 0; fi
  done </proc/self/cgroup
} 2>/dev/null

# look_at_group GROUP: the bytes that are no file's on a disk, those of processes and of files in memory, in $now.
look_at_group() {
  local name value
  now=0
  while read -r name value; do
    case $name in
      anon | rss) now=$(( now + value )) ;;
      shmem) now=$(( now + value )); break ;;
    esac
  done <"$1/memory.stat"
}

# look_at_processes COMMAND: the same of the command's processes. What they share counts once. It may have been more
# between two looks: of each process the kernel knows the most that it had, if with the pages of files.
look_at_processes() {
  local entry pid line shown own=0 shared=0 most=0 before=${members-}
  members=" $1 "
  for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    # A process is younger than the one that has started it; most of a machine's are older.
    (( pid >= $1 )) || continue
    line=
    read -r line <"$entry/stat"
    [[ $line =~ $family ]] || continue
    [[ ${BASH_REMATCH[2]} == "$1" || $members$before == *" ${BASH_REMATCH[1]} "* ]] || continue
    members+="$pid "
    line=
    IFS= read -r -d '' line <"$entry/status"
    [[ $line =~ $figures ]] || continue
    shown=${BASH_REMATCH[3]}
    if (( shown > ${files[pid]:-0} )); then files[pid]=$shown; fi
    own=$(( own + BASH_REMATCH[2] ))
    if (( BASH_REMATCH[4] > shared )); then shared=${BASH_REMATCH[4]}; fi
    if (( BASH_REMATCH[1] - files[pid] > most )); then most=$(( BASH_REMATCH[1] - files[pid] )); fi
  done
  if (( ${#files[@]} > 2000 )); then files=(); fi
  now=$(( (own + shared > most ? own + shared : most) * 1024 ))
}

# The time in REPLY, in microseconds; nothing in a bash that cannot tell without starting a process.
microseconds() { REPLY=${EPOCHREALTIME-}; REPLY=${REPLY/[.,]/}; }

# watch_memory SHELL COMMAND: note the most that is used at a time, as it grows. The pause between two looks is a 20th
# of the time so far, 5 s at the most; and 20 times what a look takes, 1 s at the most.
watch_memory() {
  local now most=0 group way=processes began took pause=50 wait members='' files=()
  local family='\) [A-Za-z] ([0-9]+) ([0-9]+) '
  local figures='VmHWM:[^0-9]*([0-9]+) .*RssAnon:[^0-9]*([0-9]+) kB.RssFile:[^0-9]*([0-9]+) kB.RssShmem:[^0-9]*([0-9]+)'
  LC_ALL=C
  own_group
  group=$REPLY
  [[ -z $group ]] || way=group
  [[ -n $group || -r /proc/$2/status ]] || return 0
  exec 9<> <(:) || return 0
  while kill -0 "$1"; do
    wait=1
    if (( BASH_VERSINFO[0] > 3 )); then printf -v wait '%d.%03d' $(( pause / 1000 )) $(( pause % 1000 )); fi
    read -r -t "$wait" -u 9
    # In bash 4 and later, anything else is no end of the time.
    (( $? > 128 || BASH_VERSINFO[0] < 4 )) || return 0
    microseconds
    began=$REPLY
    if [[ $way == group ]]; then look_at_group "$group"; else look_at_processes "$2"; fi
    if (( now > most + most / 64 )); then
      most=$now
      printf '%s %s\n' "$way" "$most" >>"$folder/usage"
    fi
    microseconds
    pause=$(( pause + pause / 20 + 1 ))
    if (( pause < 1000 )) && [[ -n $began ]]; then
      took=$(( (REPLY - began) / 1000 ))
      if (( took * 20 > pause )); then pause=$(( took < 50 ? took * 20 : 1000 )); fi
    fi
    if (( pause > 5000 )); then pause=5000; fi
  done
} </dev/null >/dev/null 2>&1

# Note what is known when the command has ended: CPU time, and the most memory as the kernel has kept it.
note_usage() {
  local group name value
  {
    times
    own_group
    group=$REPLY
    if [[ -n $group ]]; then
      for name in peak max_usage_in_bytes; do
        if read -r value <"$group/memory.$name"; then printf 'peak %s\n' "$value"; fi
      done
      while read -r name value; do
        if [[ $name == usage_usec ]]; then printf 'cpu_usec %s\n' "$value"; break; fi
      done <"$group/cpu.stat"
      if read -r value <"${group%/memory}/cpuacct/cpuacct.usage"; then printf 'cpu_nsec %s\n' "$value"; fi
    fi
  } >>"$folder/usage" 2>/dev/null
} 2>/dev/null
