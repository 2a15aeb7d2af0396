"""A task's evaluation, from the text of the specification: localization, command, runtime, outputs."""

from __future__ import annotations

import posixpath

import pytest
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import AwsError, EvaluationError, Position
from airflow_wdl_ecs.plan import Task
from airflow_wdl_ecs.task import CallIdentity, OutputFile, OutputRequest, TaskResult
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation

FOLDER = "/wdl/a1"
PREFIX = "s3://bucket/run/calls/t/0/"


def task(body: str, version: str = "1.1", structs: str = "", **fields) -> Task:
    source = f"version {version}\n{structs}\ntask t {{\n{body}\n}}\n"
    return Task(name="t", source=source, wdl_version=version, position=Position("flow.wdl", 3, 1), **fields)


def evaluation(body: str, inputs=None, files=None, version="1.1", structs="", **arguments) -> TaskEvaluation:
    meta = arguments.pop("meta", {})
    return TaskEvaluation(
        task(body, version, structs, meta=meta), inputs or {}, folder=FOLDER, files=files or MemoryFiles(), **arguments
    )


def finished(*paths: str, exit_code=0, directories=(), globs=None, problems=()) -> TaskResult:
    return TaskResult(
        exit_code=exit_code,
        files=tuple(OutputFile(path, 1) for path in paths),
        directories=directories,
        globs=globs or {},
        problems=problems,
    )


def outputs_of(
    text: str, result: TaskResult, inputs_text="", inputs=None, files=None, version="1.1", structs="", body=""
):
    found = evaluation(
        f"{f'input {{ {inputs_text} }}' if inputs_text else ''} {body} command <<<>>> output {{ {text} }}",
        inputs,
        files,
        version,
        structs,
    )
    return found.outputs(result, PREFIX)


def request_of(text: str, inputs_text="", inputs=None, files=None, version="1.1", structs="", body="") -> OutputRequest:
    found = evaluation(
        f"{f'input {{ {inputs_text} }}' if inputs_text else ''} {body} command <<<>>> output {{ {text} }}",
        inputs,
        files,
        version,
        structs,
    )
    return found.output_request()


class TestInputs:
    def test_a_file_is_staged_under_its_own_name(self):
        found = evaluation("input { File bam } command <<<cat ~{bam}>>>", {"bam": "s3://b/x/a b.bam"})
        (staged,) = found.stage_in
        assert staged.uri == "s3://b/x/a b.bam"
        assert not staged.directory
        assert posixpath.basename(staged.path) == "a b.bam"
        assert staged.path.startswith(f"{FOLDER}/inputs/")
        assert found.command() == f"cat {staged.path}"

    def test_files_of_one_folder_stand_side_by_side_and_equal_names_of_different_folders_are_apart(self):
        found = evaluation(
            "input { Array[File] fs } command <<<>>>",
            {"fs": ["s3://b/x/a.bam", "s3://b/x/a.bam.bai", "s3://b/y/a.bam", "s3://b/x/a.bam"]},
        )
        first, index, other = found.stage_in
        assert posixpath.dirname(first.path) == posixpath.dirname(index.path)
        assert first.path != other.path
        assert posixpath.basename(first.path) == posixpath.basename(other.path)

    def test_a_directory_is_staged_whole_and_its_children_are_named_below_it(self):
        files = MemoryFiles({"s3://b/ref/genome/g.fa": "ACGT"})
        found = evaluation(
            """input { Directory d }
               File fasta = "~{d}/g.fa"
               File? none = "~{d}/nope"
               String text = read_string(fasta)
               command <<<~{d} ~{fasta} ~{text} ~{defined(none)} ~{size(fasta)}>>>""",
            {"d": "s3://b/ref/genome"},
            files,
            version="1.2",
        )
        (staged,) = found.stage_in
        assert (staged.uri, staged.directory) == ("s3://b/ref/genome/", True)
        assert found.command() == f"{staged.path} {staged.path}/g.fa ACGT false 4.000000"

    def test_a_missing_child_of_a_directory_is_an_error_that_names_it(self):
        with pytest.raises(EvaluationError, match=r"no such file.*nope"):
            evaluation('input { Directory d } File f = "~{d}/nope" command <<<>>>', {"d": "s3://b/d"}, version="1.2")

    def test_files_inside_structs_maps_and_pairs_are_staged(self):
        found = evaluation(
            "input { S s  Map[String, File] m  Pair[File, Int] p } command <<<>>>",
            {"s": {"f": "s3://b/1"}, "m": {"k": "s3://b/2"}, "p": {"left": "s3://b/3", "right": 1}},
            structs="struct S { File f }",
        )
        assert [staged.uri for staged in found.stage_in] == ["s3://b/1", "s3://b/2", "s3://b/3"]

    @pytest.mark.parametrize("uri", ["/etc/passwd", "file:///etc/passwd", "gs://b/x", "s3://b/../x", "x"])
    def test_an_input_that_is_not_in_s3_is_refused(self, uri):
        with pytest.raises(EvaluationError, match="not an s3:// URI"):
            evaluation("input { File f } command <<<>>>", {"f": uri})

    def test_a_default_is_used_for_null_unless_the_type_is_optional(self):
        body = "input { Int a = 5  Int? b = 6  Int? c } command <<<~{a} ~{defined(b)} ~{defined(c)}>>>"
        assert evaluation(body, {"a": None, "b": None}).command() == "5 false false"
        assert evaluation(body, {}).command() == "5 true false"

    def test_defaults_and_declarations_are_evaluated_in_the_order_of_their_references(self):
        body = "input { Int a = b + 1  Int b } Int d = c * 2 Int c = a + b command <<<~{a} ~{c} ~{d}>>>"
        assert evaluation(body, {"b": 1}).command() == "2 3 6"

    def test_a_required_input_that_is_missing_is_named(self):
        with pytest.raises(EvaluationError, match="required input x"):
            evaluation("input { Int x } command <<<>>>")

    def test_an_unknown_input_is_named(self):
        with pytest.raises(EvaluationError, match="no input 'y'"):
            evaluation("input { Int x } command <<<>>>", {"x": 1, "y": 2})

    def test_a_wrong_type_is_an_error_with_call_shard_and_position(self):
        identity = CallIdentity("dag", "run", "align.t", (2, 1))
        with pytest.raises(EvaluationError, match="is not Int") as caught:
            evaluation("input {\n Int x } command <<<>>>", {"x": "one"}, identity=identity)
        assert caught.value.position == Position("flow.wdl", 5, 2)
        assert (caught.value.call, caught.value.shard) == ("align.t", (2, 1))

    def test_a_default_in_s3_is_staged(self):
        files = MemoryFiles({"s3://refs/g.fa": "ACGT"})
        found = evaluation('input { File ref = "s3://refs/g.fa" } command <<<>>>', files=files)
        assert [staged.uri for staged in found.stage_in] == ["s3://refs/g.fa"]

    def test_a_default_that_does_not_exist_is_null_if_it_may_be(self):
        found = evaluation('input { File? ref = "s3://refs/g.fa" } command <<<~{defined(ref)}>>>')
        assert found.command() == "false"
        assert found.stage_in == ()
        with pytest.raises(EvaluationError, match=r"no such file: s3://refs/g\.fa"):
            evaluation('input { File ref = "s3://refs/g.fa" } command <<<>>>')

    def test_a_path_of_the_image_stays_as_it_is_and_is_not_read(self):
        assert evaluation('File f = "/opt/ref.fa" command <<<~{f}>>>').command() == "/opt/ref.fa"
        with pytest.raises(EvaluationError, match="reads only its inputs"):
            evaluation('String s = read_string("/etc/passwd") command <<<>>>')
        with pytest.raises(EvaluationError, match="reads only its inputs"):
            evaluation('input { File f } Float s = size("~{f}/../../../etc/passwd") command <<<>>>', {"f": "s3://b/f"})


class TestCommand:
    def test_common_leading_whitespace_is_removed(self):
        found = evaluation('command <<<\n    python <<CODE\n      print("~{1 + 1}")\n    CODE\n  >>>')
        assert found.command() == '\npython <<CODE\n  print("2")\nCODE\n'

    def test_placeholder_options(self):
        found = evaluation(
            """input { Array[Int] xs  Boolean b  String? s }
               command <<<~{sep="," xs} ~{true="yes" false="no" b} ~{default="none" s} ~{"-x " + s}|${1}>>>""",
            {"xs": [1, 2], "b": True},
        )
        assert found.command() == "1,2 yes none |${1}"

    def test_a_default_may_be_a_number(self):
        body = 'input { Int? n } String s = "~{default=2 n}" command <<<~{default=250 n} ~{default=1.5 n} ~{s}>>>'
        assert evaluation(body).command() == "250 1.5 2"
        assert evaluation(body, {"n": 7}).command() == "7 7 7"

    def test_write_functions_make_staged_files_of_equal_name_for_equal_contents(self):
        files = MemoryFiles()
        found = evaluation("input { Array[String] xs } command <<<cat ~{write_lines(xs)}>>>", {"xs": ["a", "b"]}, files)
        (staged,) = found.stage_in
        assert files.contents[staged.uri] == b"a\nb\n"
        assert found.command() == f"cat {staged.path}"
        again = evaluation("input { Array[String] xs } command <<<cat ~{write_lines(xs)}>>>", {"xs": ["a", "b"]}, files)
        assert again.stage_in == found.stage_in

    def test_files_inside_a_written_file_are_container_paths(self):
        files = MemoryFiles()
        found = evaluation("input { Array[File] fs } command <<<~{write_lines(fs)}>>>", {"fs": ["s3://b/f"]}, files)
        data, written = found.stage_in
        assert files.contents[written.uri].decode() == f"{data.path}\n"

    def test_an_error_in_the_command_has_the_placeholders_position(self):
        with pytest.raises(EvaluationError, match="out of bounds") as caught:
            evaluation("input { Array[Int] xs }\n  command <<<\n  ~{xs[3]}\n  >>>", {"xs": []}).command()
        assert caught.value.position == Position("flow.wdl", 6, 8)

    def test_the_line_of_a_slice_is_moved_to_the_line_of_the_source(self):
        moved = task("input { Array[Int] xs }\n Int x = xs[0]\n command <<<>>>", line_offset=100)
        with pytest.raises(EvaluationError) as caught:
            TaskEvaluation(moved, {"xs": []}, folder=FOLDER, files=MemoryFiles())
        assert caught.value.position == Position("flow.wdl", 105, 13)


class TestTaskVariable:
    BODY = """meta { description: "what it does" }
      command <<<~{task.name} ~{task.attempt} ~{task.cpu} ~{task.memory} ~{task.container} ~{task.meta.description}
      ~{defined(task.end_time)} ~{length(task.gpu)} ~{task.disks["/"]} ~{task.id}>>>
      requirements { container: ["img:1", "img:2"]  memory: "3 GiB"  cpu: 2 }
      output { Int code = task.return_code  Boolean big = task.memory >= 1000 }"""

    def test_its_members(self):
        found = evaluation(
            self.BODY,
            version="1.2",
            attempt=1,
            meta={"description": "what it does"},
            identity=CallIdentity("dag", "run1", "t", (3,)),
        )
        first, second = found.command().split("\n")
        assert first == f"t 1 2.000000 {3 * 2**30} img:1 what it does"
        assert second.split() == ["false", "0", str(2**30), "dag.run1.t[3]"]
        assert found.outputs(finished(exit_code=7), PREFIX) == {"code": 7, "big": True}
        assert found.images == ("img:1", "img:2")
        assert found.image == "img:1"


class TestRuntime:
    def test_attributes_are_evaluated_on_inputs_and_sizes(self):
        files = MemoryFiles({"s3://b/f": "x" * 10})
        found = evaluation(
            """input { File f  Int n = 3 } command <<<>>>
               runtime { docker: "img:~{n}"  memory: ceil(size(f)) + n + " GB"  preemptible: n  x: [1, 2] }""",
            {"f": "s3://b/f"},
            files,
        )
        assert found.runtime == {"docker": "img:3", "memory": "13 GB", "preemptible": 3, "x": [1, 2]}
        assert ("read", "s3://b/f") not in files.asked

    def test_an_override_wins_and_its_expression_is_not_evaluated(self):
        body = 'command <<<>>> runtime { docker: read_string("nope")  cpu: 1  maxRetries: 2 }'
        found = evaluation(body, runtime_overrides={"container": "mine", "max_retries": 0})
        assert found.runtime == {"container": "mine", "cpu": 1, "max_retries": 0}
        assert found.image == "mine"

    @pytest.mark.parametrize(
        ("text", "images"),
        [
            ('"ubuntu:22.04"', ("ubuntu:22.04",)),
            ('"docker://quay.io/x"', ("quay.io/x",)),
            ('["a", "b"]', ("a", "b")),
            ('"*"', ()),
        ],
    )
    def test_images(self, text, images):
        assert evaluation(f"command <<<>>> runtime {{ container: {text} }}").images == images

    def test_no_image(self):
        assert evaluation("command <<<>>>").image is None

    def test_environment(self):
        found = evaluation(
            """input { env String greeting  env File f  env Int n  env Array[String] xs  env String? none  Int m }
               env Boolean b = true command <<<echo $greeting>>>""",
            {"greeting": "a 'b' $c\n", "f": "s3://b/f", "n": 3, "xs": ["é"], "m": 1},
            version="1.2",
        )
        assert found.environment == {
            "greeting": "a 'b' $c\n",
            "f": found.stage_in[0].path,
            "n": "3",
            "xs": '["é"]',
            "b": "true",
        }


class TestOutputRequest:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('File o = "x.txt"', OutputRequest(paths=("x.txt",))),
            ('File? o = "./d/../x.txt"', OutputRequest(paths=("x.txt",))),
            ('Array[File] o = ["a", "b"]', OutputRequest(paths=("a", "b"))),
            ('Map[String, File] o = {"k": "a"}', OutputRequest(paths=("a",))),
            ('Pair[File, Int] o = ("a", 1)', OutputRequest(paths=("a",))),
            ('Array[File] o = glob("*.txt")', OutputRequest(globs=("*.txt",))),
            ('File o = glob("*.txt")[0]', OutputRequest(globs=("*.txt",))),
            ('File o = select_first([glob("*.txt")[0], "b"])', OutputRequest(paths=("b",), globs=("*.txt",))),
            ('Int o = length(glob("*.txt"))', OutputRequest(globs=("*.txt",))),
            ('Int o = read_int("n")', OutputRequest(paths=("n",))),
            ("String o = read_string(stdout())", OutputRequest()),
            ("File o = stdout()", OutputRequest()),
            ("Array[String] o = read_json(stderr())", OutputRequest()),
            ('Float o = size(["a", "b"], "GB")', OutputRequest(paths=("a", "b"))),
            ('File o = if read_int("n") > 1 then "a" else "b"', OutputRequest(paths=("n", "a", "b"))),
            ('File o = if true then "a" else "b"', OutputRequest(paths=("a",))),
            ('Array[File] o = read_lines("names")', OutputRequest(paths=("names",), everything=True)),
            ('File o = "x_~{read_int(stdout())}.txt"', OutputRequest(everything=True)),
            ('File o = read_string("n") + ".txt"', OutputRequest(paths=("n",), everything=True)),
            ('Array[File] o = glob(read_string("p"))', OutputRequest(paths=("p",), everything=True)),
            ("Array[String] o = read_lines(read_string(stdout()))", OutputRequest(everything=True)),
            ('String o = "x.txt"', OutputRequest()),
            ('File o = "/etc/passwd"', OutputRequest()),
            ('File o = "../x"', OutputRequest()),
        ],
    )
    def test_one_output(self, text, expected):
        assert request_of(text) == expected

    def test_outputs_that_refer_to_others(self):
        text = """String name = "x.txt"  Int n = read_int(name)  Array[File] all = glob("*")  File one = all[n]
                  File? maybe = if n > 1 then one else name"""
        assert request_of(text) == OutputRequest(paths=("x.txt",), globs=("*",))

    def test_outputs_may_stand_in_any_order(self):
        assert request_of('File o = name  String name = "x"') == OutputRequest(paths=("x",))

    def test_an_output_that_refers_to_an_unknown_string_keeps_everything(self):
        assert request_of('String s = read_string("s")  File o = s') == OutputRequest(paths=("s",), everything=True)

    def test_inputs_are_not_kept(self):
        found = request_of("File o = f  Float s = size(f)", "File f", {"f": "s3://b/f"}, MemoryFiles({"s3://b/f": "1"}))
        assert found == OutputRequest()

    def test_what_an_input_file_says_is_known_before_the_run(self):
        files = MemoryFiles({"s3://b/names": "a\nb\n"})
        found = request_of("Array[File] o = read_lines(f)", "File f", {"f": "s3://b/names"}, files)
        assert found == OutputRequest(paths=("a", "b"))

    def test_names_from_inputs(self):
        found = request_of('File o = "~{p}.bam"  File i = o + ".bai"', "String p", {"p": "d/x"})
        assert found == OutputRequest(paths=("d/x.bam", "d/x.bam.bai"))

    def test_an_absolute_path_in_the_work_directory(self):
        assert request_of(f'File o = "{FOLDER}/work/x"') == OutputRequest(paths=("x",))

    def test_structs(self):
        structs = "struct S { File f  Array[File]? more }"
        assert request_of('S o = S { f: "a", more: ["b"] }', structs=structs).paths == ("a", "b")
        assert request_of("S o = read_json(stdout())", structs=structs) == OutputRequest(everything=True)
        unknown = request_of('S o = S { f: "a", more: glob("m*") }', structs=structs)
        assert (unknown.globs, unknown.everything) == (("m*",), False)
        assert "a" in unknown.paths

    def test_directories(self):
        assert request_of('Directory o = "out/"', version="1.2") == OutputRequest(paths=("out",))
        assert request_of('Directory o = "."', version="1.2") == OutputRequest(everything=True)

    def test_the_return_code_is_not_known(self):
        assert request_of('File o = "rc_~{task.return_code}"', version="1.2").everything
        assert request_of("Int o = task.return_code", version="1.2") == OutputRequest()

    def test_an_error_of_aws_is_not_taken_for_an_unknown_value(self):
        class Throttled(MemoryFiles):
            def read(self, uri):
                raise AwsError("slow down", code="SlowDown")

        with pytest.raises(AwsError):
            request_of("Array[File] o = read_lines(f)", "File f", {"f": "s3://b/f"}, Throttled())


class TestOutputs:
    def test_files_are_uris_of_the_attempt(self):
        assert outputs_of('File o = "d/x.txt"', finished("d/x.txt")) == {"o": f"{PREFIX}work/d/x.txt"}
        assert outputs_of("File o = stdout() File e = stderr()", finished()) == {
            "o": f"{PREFIX}stdout",
            "e": f"{PREFIX}stderr",
        }

    def test_a_missing_file_is_an_error_that_names_output_path_and_position(self):
        with pytest.raises(EvaluationError, match=r"output o: .*no file 'x\.txt'") as caught:
            outputs_of('File o = "x.txt"', finished())
        assert caught.value.position is not None

    def test_why_it_is_missing_is_said_where_it_is_known(self):
        with pytest.raises(EvaluationError, match="link out of"):
            outputs_of('File o = "x.txt"', finished(problems=("x.txt: a link out of the folder",)))

    def test_a_missing_optional_file_is_null(self):
        found = outputs_of('File? o = "x"  Array[File?] a = ["y", "x"]  Pair[File?, Int] p = ("x", 1)', finished("y"))
        assert found == {"o": None, "a": [f"{PREFIX}work/y", None], "p": {"left": None, "right": 1}}
        with pytest.raises(EvaluationError, match="no file 'x'"):
            outputs_of('Array[File]? a = ["x"]', finished())

    def test_glob_is_in_bashs_order(self):
        result = finished("b", "a", globs={"*": ("b", "a")})
        assert outputs_of('Array[File] o = glob("*") File f = o[0]', result) == {
            "o": [f"{PREFIX}work/b", f"{PREFIX}work/a"],
            "f": f"{PREFIX}work/b",
        }

    def test_an_empty_glob_is_no_array_of_at_least_one(self):
        assert outputs_of('Array[File] o = glob("*")', finished(globs={"*": ()})) == {"o": []}
        with pytest.raises(EvaluationError, match="Empty array"):
            outputs_of('Array[File]+ o = glob("*")', finished(globs={"*": ()}))

    def test_a_glob_whose_pattern_came_out_of_a_file(self):
        files = MemoryFiles({f"{PREFIX}stdout": "[ab]*.t?t\n"})
        result = finished("b.txt", "a1.txt", ".a.txt", "c.txt", "d/a.txt")
        assert outputs_of("Array[File] o = glob(read_string(stdout()))", result, files=files) == {
            "o": [f"{PREFIX}work/a1.txt", f"{PREFIX}work/b.txt"]
        }

    def test_reading_what_the_command_made(self):
        files = MemoryFiles({f"{PREFIX}work/n": " 12 \n", f"{PREFIX}stdout": "a\nb\n"})
        text = 'Int n = read_int("n")  Array[String] xs = read_lines(stdout())  String d = xs[1] + n'
        assert outputs_of(text, finished("n"), files=files) == {"n": 12, "xs": ["a", "b"], "d": "b12"}

    def test_an_output_that_is_an_input_is_its_source(self):
        found = outputs_of("File o = f  Array[File] a = [f]", finished(), "File f", {"f": "s3://in/f"})
        assert found == {"o": "s3://in/f", "a": ["s3://in/f"]}

    def test_a_child_of_an_input_directory_is_its_source(self):
        files = MemoryFiles({"s3://in/d/x": "1"})
        found = outputs_of(
            'File o = "~{d}/x"  File? n = "~{d}/y"  Directory e = d',
            finished(),
            "Directory d",
            {"d": "s3://in/d/"},
            files,
            "1.2",
        )
        assert found == {"o": "s3://in/d/x", "n": None, "e": "s3://in/d"}

    @pytest.mark.parametrize("path", ["/etc/passwd", "../inputs/x", "a/../../x", "s3://other/x", "file:///x"])
    @pytest.mark.parametrize("optional", ["", "?"])
    def test_a_path_outside_is_refused(self, path, optional):
        with pytest.raises(EvaluationError, match="outside the task's work directory"):
            outputs_of(f'File{optional} o = "{path}"', finished())

    @pytest.mark.parametrize("pattern", ["/etc/*", "../*", "d/../../*", "~/*"])
    def test_a_pattern_outside_is_neither_asked_nor_matched(self, pattern):
        text = f'Array[File] o = glob("{pattern}")'
        assert request_of(text) == OutputRequest()
        with pytest.raises(EvaluationError, match="outside the task's work directory"):
            outputs_of(text, finished("x", globs={pattern: ("x",)}))

    def test_no_output_reads_outside(self):
        with pytest.raises(EvaluationError, match="outside the task's work directory"):
            outputs_of('String o = read_string("/etc/passwd")', finished())

    def test_a_directory_is_no_file_and_the_reverse(self):
        with pytest.raises(EvaluationError, match="is a directory"):
            outputs_of('File? o = "d"', finished("d/x"))
        with pytest.raises(EvaluationError, match="is a file"):
            outputs_of('Directory? o = "x"', finished("x"), version="1.2")

    def test_directories(self):
        result = finished("d/x", directories=("d", "empty"))
        assert outputs_of('Directory o = "d/"  Directory e = "empty"', result, version="1.2") == {
            "o": f"{PREFIX}work/d",
            "e": f"{PREFIX}work/empty",
        }

    def test_values_of_structs_and_json(self):
        files = MemoryFiles({f"{PREFIX}stdout": '{"f": "a", "n": 3}'})
        assert outputs_of(
            "S o = read_json(stdout())", finished("a"), files=files, structs="struct S { File f  Int n }"
        ) == {"o": {"f": f"{PREFIX}work/a", "n": 3}}

    def test_optional_output_of_1_2(self):
        text = """File example1 = "example1.txt"  File? example2 = "example2.txt"
                  Array[File?] file_array = ["example1.txt", "example2.txt"]
                  Int file_array_len = length(select_all(file_array))"""
        assert outputs_of(text, finished("example1.txt"), version="1.2") == {
            "example1": f"{PREFIX}work/example1.txt",
            "example2": None,
            "file_array": [f"{PREFIX}work/example1.txt", None],
            "file_array_len": 1,
        }

    def test_size_of_outputs(self):
        files = MemoryFiles({f"{PREFIX}work/a": "12345"})
        text = 'File a = "a"  File? b = "b"  Float o = size(a)  Float n = size([a, b], "K")'
        found = outputs_of(text, finished("a"), files=files)
        assert (found["o"], found["n"]) == (5.0, 0.005)
        assert not any(kind == "read" for kind, _ in files.asked)


def test_a_file_in_a_directory_that_is_an_input_too_is_in_it_whichever_comes_first() -> None:
    found = evaluation(
        "input { File inner  Directory outer  Directory? nested } command <<< ~{inner} ~{outer} ~{nested} >>>",
        {"inner": "s3://b/d/x.txt", "outer": "s3://b/d", "nested": "s3://b/d/e"},
        version="1.2",
    )
    inner, outer, nested = found.command().split()
    assert (inner, nested) == (f"{outer}/x.txt", f"{outer}/e")
    assert [(item.uri, item.path) for item in found.stage_in] == [("s3://b/d/", outer)]
