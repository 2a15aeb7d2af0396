"""The scripts of an attempt's three containers, as text (pure).

- **stage-in** makes the attempt's folder, writes the command and ``run.sh`` into it, and fetches the inputs.
- **run.sh** runs the command in the user's own image, of which nothing is assumed but bash.
- **stage-out** finds what is to be kept, uploads it, and writes ``result.json`` last.

The two staging scripts run in the staging image, which has bash (5 or later), GNU coreutils and one tool that moves
files: the AWS CLI, or s5cmd. What is the same for all attempts is a `library`, which stands in the task definition; the
script of an attempt is what remains, and short enough to travel with the request as a rule. Every value is quoted for
the shell; nothing from a WDL value is interpreted, except the command itself and, as patterns of file names, the
arguments of ``glob()``. This module starts nothing.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from ..errors import EvaluationError
from ..task import OutputRequest, StageIn, TaskRequest
from .attributes import Policy
from .fetching import folders, patterns

Stage = Literal["stage-in", "stage-out"]

_HEAD = """\
folder={folder}
prefix={prefix}
work="$folder/work"
"""

_TOOLS = {
    "aws": """\
fetch_file() { aws s3 cp --only-show-errors "$1" "$2"; }
fetch_folder() { aws s3 cp --only-show-errors --recursive "$1" "$2/"; }
put_file() { aws s3 cp --only-show-errors "$1" "$2"; }
# It says a line for each file that S3 has taken.
put_folder() { REPLY=$(aws s3 cp --no-progress --recursive "$1/" "$2" | wc -l); }
# How many objects, and how many bytes, are below a prefix.
stored() {
  REPLY=$(aws s3 ls --recursive --summarize "$1" | tail -n 2 | tr -dc '0-9\\n' | tr '\\n' ' ')
}
""",
    # A backslash before a wildcard is no escape for s5cmd, so names are given raw wherever they are one file's.
    "s5cmd": """\
export S3_ENDPOINT_URL="${S3_ENDPOINT_URL:-${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}}}"
# ECS names a region, in which s5cmd looks for every bucket. Without a name it asks where each is, which takes longer.
elsewhere() {
  [[ $said == *BucketRegionError* ]] && said=$(unset AWS_REGION AWS_DEFAULT_REGION; s5cmd --log error "$@" 2>&1)
}
fetch_file() {
  local said
  said=$(s5cmd --log error cp --raw "$1" "$2" 2>&1) || elsewhere cp --raw "$1" "$2" || { echo "$said" >&2; return 1; }
}
fetch_list() {
  local lines said code=0
  said=$(s5cmd --log error run "$1" 2>&1) || code=1
  # If there is a second time, only what is not there in its full size is fetched.
  lines=$'\\n'$(<"$1")
  printf '%s\\n' "${lines//$'\\n'cp --raw/$'\\n'cp --no-clobber --if-size-differ --raw}" >"$1"
  (( code == 0 )) || elsewhere run "$1" || { echo "$said" >&2; return 1; }
}
fetch_folder() {
  local said
  said=$(s5cmd --log error cp "$1*" "$2/" 2>&1) || elsewhere cp "$1*" "$2/" ||
    # An empty folder has no object, and that is an error to s5cmd.
    [[ $said == *"no object found"* ]] || { echo "$said" >&2; return 1; }
}
put_file() { s5cmd --log error cp --raw "$1" "$2"; }
put_folder() { REPLY=; s5cmd --log error cp "$1/" "$2"; }
# How many objects, and how many bytes, are below a prefix.
stored() {
  local bytes objects _
  read -r bytes _ _ objects _ < <(s5cmd du "$1*")
  REPLY="${objects:-0} ${bytes:-0}"
}
""",
}

END = "# That is all of it."
"""The last line of a staging script, without which it has not arrived whole."""

_PATTERNS = 100
"""Patterns that a process of the AWS CLI is given: it compares each object with each twice, and remembers 256."""

_WORTH = 500
"""Objects that are listed for one file to be fetched, at most: so many take longer than a process that fetches it."""

_RUN_HEAD = """\
# Runs the command of {who}, attempt {attempt}. The image is the user's: only bash and its builtins are used here.
folder={folder}
limit={limit} grace={grace} measure={measure}
set -- "$BASH" {folder}/command.sh
environment() {{
  :
{environment}\
}}
"""

_RUN = """\
cd "$folder/work" || exit 126
{clock}{tell}{limit}{usage}\
: >"$folder/stdout"
: >"$folder/stderr"
exec 5<> <(:) 6<> <(:) 7<"$folder/stdout" 8<"$folder/stderr"
tell &
exec 7<&- 8<&-
mark command_started
# With job control the command gets a process group of its own, and a stop reaches all of it.
set -m
{{
  environment
  exec "$1" "$2"
}} >"$folder/stdout" 2>"$folder/stderr" 5>&- 6>&- </dev/null &
command=$!
set +m
over=0 watcher= sampler=
trap 'stop=1; kill -TERM -- "-$command" 2>/dev/null' TERM INT
trap 'stop=1 over=1; mark time_over; kill -TERM -- "-$command" 2>/dev/null' USR1
if (( limit > 0 )); then
  watch_time "$$" "$command" &
  watcher=$!
  disown "$watcher" 2>/dev/null
fi
if (( measure )); then
  watch_memory "$$" "$command" &
  sampler=$!
  disown "$sampler" 2>/dev/null
fi
# A wait that a signal has ended says nothing of the command; bash remembers how a process that is gone has ended.
stop=1
while (( stop )); do stop=0; wait "$command"; code=$?; done
for process in $watcher $sampler; do kill -KILL "$process" 2>/dev/null; done
trap '' USR1
mark command_ended
(( measure == 0 )) || note_usage
kill -KILL -- "-$command" 2>/dev/null
if (( over )); then
  echo "the command was stopped: its time of $limit seconds was over" >>"$folder/stderr"
  # No number: a command that is stopped has not succeeded, whatever it ends with.
  code=124
  echo "over" >"$folder/exit_code"
else
  printf '%s\\n' "$code" >"$folder/exit_code"
fi
echo end >&6
read -r -t 5 -u 5
exit "$code"
"""


@cache
def library(stage: Stage, tool: str) -> str:
    """What the scripts of a stage use, and is the same for all attempts.

    :param tool: ``aws`` or ``s5cmd``.
    """
    common = "set -u -o pipefail\n" + _bash("clock") + _bash("again") + _TOOLS[tool] + _bash("stage")
    if stage == "stage-in":
        return common + _bash("together") + _bash("folders") + f"run_rest={shlex.quote(_run())}\n"
    return common + _bash("collect")


def run_script(request: TaskRequest) -> str:
    """``run.sh``: runs ``command.sh`` in the work directory, with its environment, and leaves ``exit_code``.

    stdout and stderr go to files, and from there to the container's log: stderr whole, of stdout the beginning.
    When the command started and ended is noted in ``times``, and what it used in ``usage`` (see the module of that
    name). The environment is the command's alone. A command that takes longer than it may is stopped: ``times`` has
    ``time_over``, and ``exit_code`` no number.
    """
    return _run_head(request) + _run()


def _run_head(request: TaskRequest) -> str:
    exports = "".join(f"  export {name}={shlex.quote(value)}\n" for name, value in request.environment.items())
    return _RUN_HEAD.format(
        who=_one_line(str(request.identity)),
        attempt=request.attempt,
        folder=shlex.quote(request.folder),
        environment=exports,
        limit=request.time_limit,
        grace=request.grace,
        measure=int(request.measure),
    )


def _run() -> str:
    return _RUN.format(clock=_bash("clock"), tell=_bash("tell"), limit=_bash("limit"), usage=_bash("usage"))


def stage_in_script(request: TaskRequest, tool: str) -> str:
    """An attempt's script of ``stage-in``, for bash that has read the `library`.

    Both tools compare the length of what they download with what S3 announces; what has failed is tried again, and
    that everything has arrived is checked besides.

    :param tool: ``aws`` or ``s5cmd``.
    :raises EvaluationError: for a directory whose name s5cmd would take for a pattern.
    """
    parents = {posixpath.dirname(item.path) for item in request.inputs if not item.directory}
    parents |= {item.path for item in request.inputs if item.directory}
    body = [
        # The command may run as any user of its image.
        "umask 000",
        *(f"mkdir -p -- {_words(chunk)} || return" for chunk in _chunks(sorted(parents))),
        f'printf %s {shlex.quote(request.command)} >"$folder/command.sh" || return',
        f'printf %s {shlex.quote(_run_head(request))} "$run_rest" >"$folder/run.sh" || return',
        'mark stage_in_started "${began-}"',
    ]
    fetches = _fetches_s5cmd(request.inputs) if tool == "s5cmd" else _fetches_aws(request.inputs)
    body += [*fetches, "finish || return"]
    for chunk in _chunks([item.path for item in request.inputs]):
        body.append(f"for path in {_words(chunk)}; do")
        body.append('  if [[ ! -e $path ]]; then echo "$path did not arrive" >&2; return 1; fi')
        body.append("done")
    body.append("mark stage_in_ended")
    # The log is in the attempt's folder, which must be there before the stage writes to it.
    body += ["}", '(umask 000; mkdir -p -- "$work") || exit', "run_stage stage-in", END, ""]
    return _head(request) + "stage() {\n" + "\n".join(body)


def stage_out_script(request: TaskRequest, policy: Policy) -> str:
    """An attempt's script of ``stage-out``, for bash that has read the `library`; after a failure of the command it
    keeps only stdout and stderr.

    It sees that S3 has taken what was to be kept, and tries again while the files are still there.
    """
    if policy.success is None:
        success = "(( exit_code >= 0 ))"
    else:
        success = " || ".join(f"(( exit_code == {code} ))" for code in policy.success) or "false"
    wanted = "".join(f"  {line}\n" for line in _wanted(request.outputs, f"{request.folder}/work"))
    functions = f"succeeded() {{ {success}; }}\nwanted() {{\n  :\n{wanted}}}\n"
    return f"{_head(request)}{functions}run_stage stage-out\n{END}\n"


def expand_braces(pattern: str) -> list[str]:
    """What bash's brace expansion makes of a pattern: ``*.{bam,bai}`` is two patterns.

    Lists are expanded, nested ones too; a backslash keeps the next character from meaning anything. Sequences
    (``{1..3}``) are left as they are.
    """
    start = 0
    while (opening := _find(pattern, "{", start)) >= 0:
        pieces = _alternatives(pattern, opening)
        if pieces is None:
            start = opening + 1
            continue
        choices, closing = pieces
        heads, tails = pattern[:opening], expand_braces(pattern[closing + 1 :])
        return [heads + middle + tail for choice in choices for middle in expand_braces(choice) for tail in tails]
    return [pattern]


def _alternatives(pattern: str, opening: int) -> tuple[list[str], int] | None:
    """The comma-separated parts of the braces that open at an index, and where they close; None if they are no list."""
    depth, parts, begin, at = 0, [], opening + 1, opening
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "{":
            depth += 1
        elif char == "," and depth == 1:
            parts.append(pattern[begin:at])
            begin = at + 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return ([*parts, pattern[begin:at]], at) if parts else None
        at += 1
    return None


def _find(text: str, char: str, start: int) -> int:
    at = start
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == char:
            return at
        at += 1
    return -1


def _wanted(outputs: OutputRequest, work: str) -> Iterable[str]:
    if outputs.everything:
        yield "keep_folder ''"
    for path in outputs.paths:
        at = posixpath.normpath(posixpath.join(work, path))
        if at == work:
            yield "keep_folder ''"
        elif at.startswith(f"{work}/"):
            yield f"keep_path {shlex.quote(at[len(work) + 1 :])}"
        else:
            yield f"problems+=({shlex.quote(f'{path} is outside the work directory')})"
    for pattern in outputs.globs:
        yield f"keep_glob {_words([pattern, *expand_braces(pattern)])}"


def _fetches_aws(inputs: Sequence[StageIn]) -> Iterable[str]:
    """Files of folders by few processes, into a folder of their own; the others, and what did not come, one by one."""
    found, alone = folders(inputs)
    for number, folder in enumerate(found):
        names = folder.names()
        start = f"together fetch_matching {_WORTH * len(names)} {shlex.quote(folder.uri)} "
        for wanted in _chunks(patterns(names), _PATTERNS):
            yield f'{start}"$folder/fetched/{number}/" {_words(wanted)}'
    for item in alone:
        function = "fetch_folder" if item.directory else "fetch_file"
        yield f"together again {function} {shlex.quote(item.uri)} {shlex.quote(item.path)}"
    if not found:
        return
    yield "finish || return"
    for number, folder in enumerate(found):
        for (below, target), beside in folder.places.items():
            at = f'{shlex.quote(folder.uri + below)} "$folder/fetched/{number}/"{shlex.quote(below)}'
            for chunk in _chunks(beside):
                yield f"place {at} {_words([target, *chunk])} || return"
    yield 'rm -rf -- "$folder/fetched"'


def _fetches_s5cmd(inputs: Sequence[StageIn]) -> Iterable[str]:
    """Files in one process, which reads a command a line; a name with a line break goes by itself."""
    lines = []
    for item in inputs:
        words = f"{shlex.quote(item.uri)} {shlex.quote(item.path)}"
        if item.directory:
            if "*" in item.uri or "?" in item.uri:
                raise EvaluationError(
                    f"the directory {item.uri} has a wildcard in its name, which s5cmd cannot fetch",
                    hint="rename it, or use staging_tool = aws",
                )
            yield f"together again fetch_folder {words}"
        elif "\n" in words or "\r" in words:
            yield f"together again fetch_file {words}"
        else:
            lines.append(f"cp --raw {words}")
    if lines:
        yield "\n".join(["cat >\"$folder/fetch\" <<'END_OF_FILES' || return", *lines, "END_OF_FILES"])
        yield 'again fetch_list "$folder/fetch" || return'


@cache
def _bash(name: str) -> str:
    """The text of a library of bash functions."""
    return (Path(__file__).parent / "bash" / f"{name}.sh").read_text(encoding="utf-8")


def _head(request: TaskRequest) -> str:
    return _HEAD.format(folder=shlex.quote(request.folder), prefix=shlex.quote(request.prefix))


def _words(texts: Iterable[str]) -> str:
    return " ".join(shlex.quote(text) for text in texts)


def _chunks(items: Sequence[str], size: int = 200) -> Iterable[Sequence[str]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _one_line(text: str) -> str:
    return " ".join(text.split())
