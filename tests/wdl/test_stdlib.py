"""The standard library against the text of the specification: what miniwdl leaves to us, and what we replace."""

from __future__ import annotations

import json

import pytest
import WDL
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import AwsError, EvaluationError, Position
from airflow_wdl_ecs.plan import ROOT, Document, Expression, Ref
from airflow_wdl_ecs.wdl.failures import evaluating
from airflow_wdl_ecs.wdl.slices import parse_expression, position_in_expression
from airflow_wdl_ecs.wdl.stdlib import Library, WorkflowLocations, bytes_in
from airflow_wdl_ecs.wdl.values import from_json, to_json

STRUCTS = "struct Person { String name Int age String? town }"
HERE = Position("flow.wdl", 10, 5)


def evaluate(text: str, files: MemoryFiles | None = None, version: str = "1.2", **names):
    """An expression's value as JSON; a name is given as ``(type, value)``."""
    document = Document(version, STRUCTS)
    refs = {name: Ref(name, type_text) for name, (type_text, _) in names.items()}
    expression = Expression(text, "Any", ROOT, HERE, refs)
    env: WDL.Env.Bindings[WDL.Value.Base] = WDL.Env.Bindings()
    for name, (type_text, value) in names.items():
        env = env.bind(name, from_json(type_text, value, document))
    library = Library(version, files or MemoryFiles(), WorkflowLocations())
    with evaluating("x", HERE, lambda at: position_in_expression(expression, at)):
        return to_json(parse_expression(expression, document).eval(env, library))


def reading(text: str, contents: str, version: str = "1.2"):
    return evaluate(text, MemoryFiles({"s3://b/f": contents}), version, f=("File", "s3://b/f"))


def written(text: str, version: str = "1.2", **names) -> str:
    files = MemoryFiles()
    return files.contents[evaluate(text, files, version, **names)].decode()


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("floor(1.9)", 1),
            ("floor(-1.1)", -2),
            ("ceil(1.1)", 2),
            ("ceil(-1.9)", -1),
            ("round(1.5)", 2),
            ("round(2.5)", 3),
            ("round(1.49)", 1),
            ("round(-1.5)", -1),
            ("round(-1.51)", -2),
            ("round(0.49999999999999994)", 0),
            ("round(3)", 3),
            ("min(1, 2)", 1),
            ("max(1, 2)", 2),
            ("7 / 2", 3),
            ("7 % 2", 1),
            ("2 ** 10", 1024),
        ],
    )
    def test_ints(self, text, expected):
        found = evaluate(text)
        assert found == expected
        assert isinstance(found, int)

    @pytest.mark.parametrize(("text", "expected"), [("min(1, 2.0)", 1.0), ("max(3, 2.0)", 3.0), ("7 / 2.0", 3.5)])
    def test_a_float_if_either_is(self, text, expected):
        found = evaluate(text)
        assert found == expected
        assert isinstance(found, float)

    def test_division_by_zero(self):
        with pytest.raises(EvaluationError, match="zero"):
            evaluate("1 / 0")


class TestStrings:
    CHOCOLATE = ("String", "I like chocolate when\nit's late")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('sub(s, "like", "love")', "I love chocolate when\nit's late"),
            ('sub(s, "late", "early")', "I like chocoearly when\nit's early"),
            ('sub(s, "late$", "early")', "I like chocolate when\nit's early"),
            ('sub(s, "[^ ]late", "early")', "I like chocearly when\nit's late"),
            ('sub(s, " [[:alpha:]]{4} ", " 4444 ")', "I 4444 chocolate when\nit's late"),
            ('sub(s, "\\\\n", " ")', "I like chocolate when it's late"),
        ],
    )
    def test_sub_of_the_specification(self, text, expected):
        assert evaluate(text, s=self.CHOCOLATE) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('sub("a.b.c", "\\\\.", "")', "abc"),
            ('sub("abcd", "ab|abcd", "X")', "X"),  # POSIX: the longest match
            ('sub("x", "x", "a\\\\d")', "a\\d"),  # the replacement is no template
            ('sub("x", "x", "$1&")', "$1&"),
            ('sub("x_R1.fq", "(.*)_R([12])", "\\\\2-\\\\1")', "1-x.fq"),
            ('sub("x", "(y)?x", "[\\\\1]")', "[]"),
            ('sub("xy", "x", "\\\\1")', "\\1y"),
            ('find("hello world", "e..o")', "ello"),
            ('find("hello world", "goodbye")', None),
            ('find("hello\\tBob", "\\\\t")', "\t"),
            ('matches("sample1234_R1.fastq", "_R1")', True),
            ('matches("sample1234_R1.fastq", "\\\\.(gz|zip|zstd)")', False),
            ('matches("abc123", "^a.+3$")', True),
        ],
    )
    def test_patterns(self, text, expected):
        assert evaluate(text) == expected

    def test_a_wrong_pattern(self):
        with pytest.raises(EvaluationError, match="not a regular expression"):
            evaluate('sub("a", "(", "")')

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('prefix("-i ", ["a", "b"])', ["-i a", "-i b"]),
            ('suffix(".txt", [1, 2])', ["1.txt", "2.txt"]),
            ("quote([1, 2])", ['"1"', '"2"']),
            ('squote(["a", "b c"])', ["'a'", "'b c'"]),
            ('sep(", ", ["a", "b"])', "a, b"),
            ('sep(", ", [])', ""),
            ('"~{1.5} ~{true} ~{None}"', "1.500000 true "),
            ('length("ABCDE")', 5),
        ],
    )
    def test_arrays_of_strings(self, text, expected):
        assert evaluate(text) == expected


class TestPaths:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('basename("/path/to/file.txt")', "file.txt"),
            ('basename("/path/to/file.txt", ".txt")', "file"),
            ('basename("/path/to/file.txt", ".bam")', "file.txt"),
            ('basename("/path/to/dir")', "dir"),
            ('basename("/path/to/dir/")', "dir"),
            ('basename("s3://b/d/x.tar.gz", ".gz")', "x.tar"),
            ('basename("/a/b.txt", "a/b.txt")', "b.txt"),
            ('join_paths("/usr", ["bin", "echo"])', "/usr/bin/echo"),
            ('join_paths(["/usr", "bin", "echo"])', "/usr/bin/echo"),
            ('join_paths("/usr/", "bin/")', "/usr/bin"),
            ('join_paths("s3://b/d", "x/../y.txt")', "s3://b/d/y.txt"),
        ],
    )
    def test_paths_are_only_names(self, text, expected):
        assert evaluate(text) == expected

    def test_of_a_directory(self):
        assert evaluate("basename(d)", d=("Directory", "s3://b/x/dir/")) == "dir"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('join_paths("/usr", "/bin")', "only the first"),
            ('join_paths("usr", "bin")', "no working directory"),
            ('join_paths("s3://b", "s3://c")', "only the first"),
        ],
    )
    def test_what_cannot_be_joined(self, text, message):
        with pytest.raises(EvaluationError, match=message):
            evaluate(text)


FILES = {"s3://b/f": "x" * 22, "s3://b/d/1": "x" * 10, "s3://b/d/e/2": "x" * 5}


class TestSize:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("size(f)", 22.0), ('size(f, "B")', 22.0), ('size(f, "KB")', 0.022), ('size(f, "k")', 0.022),
            ('size(f, "KiB")', 22 / 1024), ('size(f, "Ki")', 22 / 1024), ('size(f, "gib")', 22 / 2**30),
            ("size([f, f])", 44.0), ("size([f, none])", 22.0), ("size(none)", 0.0), ("size(d)", 15.0),
            ('size("s3://b/f")', 22.0), ('size(["s3://b/f"])', 22.0), ('size({"a": (10, f), "b": (50, f)})', 44.0),
            ("size([])", None),
        ],
    )  # fmt: skip
    def test_size(self, text, expected):
        files = MemoryFiles(FILES)
        names = {"f": ("File", "s3://b/f"), "d": ("Directory", "s3://b/d"), "none": ("File?", None)}
        used = {name: given for name, given in names.items() if name in text.replace("[", "(").replace('"', "(")}
        if expected is None:
            assert evaluate("size(fs)", files, fs=("Array[File]", [])) == 0.0
        else:
            assert evaluate(text, files, **used) == expected
        assert not any(kind == "read" for kind, _ in files.asked)

    def test_a_file_that_is_not_there(self):
        with pytest.raises(EvaluationError, match="no such file: s3://b/none"):
            evaluate('size("s3://b/none")')

    @pytest.mark.parametrize("unit", ["", "iB", "XB", "Bytes", "i"])
    def test_what_is_no_unit(self, unit):
        with pytest.raises(EvaluationError, match="unit of storage"):
            bytes_in(unit)

    @pytest.mark.parametrize(
        ("unit", "expected"),
        [("B", 1), ("KB", 10**3), ("M", 10**6), ("gb", 10**9), ("TiB", 2**40), ("Mi", 2**20), ("kib", 2**10)],
    )
    def test_units(self, unit, expected):
        assert bytes_in(unit) == expected


class TestReading:
    @pytest.mark.parametrize(
        ("text", "contents", "expected"),
        [
            ("read_string(f)", "this\nfile\n", "this\nfile"),
            ("read_string(f)", "a\r\nb\r\n\n", "a\r\nb"),
            ("read_string(f)", "", ""),
            ("read_string(f)", " é \n", " é "),
            ("read_int(f)", "  1  \n", 1),
            ("read_int(f)", "-9007199254740993", -9007199254740993),
            ("read_float(f)", "  2.0  \n", 2.0),
            ("read_float(f)", "1", 1.0),
            ("read_float(f)", "-1.5e-3", -0.0015),
            ("read_boolean(f)", "  true  \n", True),
            ("read_boolean(f)", "  FALSE  \n", False),
            ("read_lines(f)", "a\r\nb\n\nc", ["a", "b", "", "c"]),
            ("read_lines(f)", "a\n", ["a"]),
            ("read_lines(f)", "\n", [""]),
            ("read_lines(f)", "", []),
            ("read_tsv(f)", "a\tb\nc\n", [["a", "b"], ["c"]]),
            ("read_tsv(f)", "", []),
            ("read_tsv(f, true)", "h1\th2\na\tb\n", [{"h1": "a", "h2": "b"}]),
            ("read_tsv(f, true)", "h1\th2\n", []),
            ("read_tsv(f, true)", "", []),
            ('read_tsv(f, false, ["x", "y"])', "a\tb\n", [{"x": "a", "y": "b"}]),
            ('read_tsv(f, true, ["x", "y"])', "h1\th2\na\tb\r\n", [{"x": "a", "y": "b"}]),
            ("read_map(f)", "k1\tv1\nk2\tv2\n", {"k1": "v1", "k2": "v2"}),
            ("read_map(f)", "", {}),
            ("read_object(f)", "k1\tk2\na\tb\n", {"k1": "a", "k2": "b"}),
            ("read_objects(f)", "k1\tk2\na\tb\nc\td\n", [{"k1": "a", "k2": "b"}, {"k1": "c", "k2": "d"}]),
            ("read_objects(f)", "k1\tk2\n", []),
            ("read_objects(f)", "", []),
            ("read_json(f)", '{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
            ("read_json(f)", " 9007199254740993 ", 9007199254740993),
            ("read_json(f)", "null", None),
        ],
    )  # fmt: skip
    def test_reading(self, text, contents, expected):
        found = reading(text, contents)
        assert found == expected
        assert type(found) is type(expected)

    @pytest.mark.parametrize(
        ("text", "contents"),
        [
            ("read_int(f)", ""), ("read_int(f)", "1.0"), ("read_int(f)", "1_000"), ("read_int(f)", "1\n2"),
            ("read_float(f)", "nan"), ("read_float(f)", "1e999"), ("read_float(f)", "x"), ("read_float(f)", ""),
            ("read_boolean(f)", "yes"), ("read_boolean(f)", ""),
            ("read_tsv(f, true)", "h1\th2\na\n"), ("read_tsv(f, true)", "h\th\na\tb\n"),
            ('read_tsv(f, false, ["x"])', "a\tb\n"),
            ("read_map(f)", "k1\tv1\nk1\tv2\n"), ("read_map(f)", "k\n"),
            ("read_object(f)", "k1\tk2\n"), ("read_object(f)", "k1\nv\nw\n"), ("read_object(f)", "k\tk\na\tb\n"),
            ("read_objects(f)", "k1\tk2\na\n"),
            ("read_json(f)", ""), ("read_json(f)", "{"), ("read_json(f)", "NaN"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_an_error_with_its_position(self, text, contents):
        with pytest.raises(EvaluationError) as caught:
            reading(text, contents)
        assert caught.value.position == HERE

    def test_what_is_read_becomes_what_it_is_declared_as(self):
        value = reading("read_json(f)", '{"name": "John", "age": 42}')
        assert to_json(from_json("Person", value, Document("1.2", STRUCTS))) == {**value, "town": None}

    def test_bytes_that_are_no_text(self):
        files = MemoryFiles({"s3://b/f": b"\xff\xfe"})
        with pytest.raises(EvaluationError, match="not UTF-8"):
            evaluate('read_string("s3://b/f")', files)

    @pytest.mark.parametrize(
        "text",
        [f'{function}("{path}")' for function in ("read_string", "read_json", "read_tsv", "size")
         for path in ("/etc/passwd", "file:///etc/passwd", "../x", "x", "https://x/y", "s3://b/../../x")],
    )  # fmt: skip
    def test_nothing_of_the_machine_is_read(self, text):
        files = MemoryFiles()
        with pytest.raises(EvaluationError, match="reads only s3:// files"):
            evaluate(text, files)
        assert files.asked == []

    def test_an_error_of_aws_stays_what_it_is(self):
        class Refused(MemoryFiles):
            def read(self, uri):
                raise AwsError("denied", code="AccessDenied")

        with pytest.raises(AwsError, match="denied"):
            evaluate('read_int("s3://b/f")', Refused())

    def test_an_error_has_one_message_and_its_hint_apart(self):
        with pytest.raises(EvaluationError) as caught:
            evaluate('1 + read_int("/etc/passwd")')
        assert caught.value.message.count("reads only") == 1
        assert caught.value.hint not in caught.value.message
        assert caught.value.position == Position("flow.wdl", 10, 9)


class TestWriting:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('write_lines(["a", "b"])', "a\nb\n"),
            ("write_lines([])", ""),
            ("write_lines([1, 2])", "1\n2\n"),
            ('write_tsv([["a", "b"], ["é"]])', "a\tb\né\n"),
            ('write_tsv([["a"]], true, ["h"])', "h\na\n"),
            ('write_map({"k": "v", "l": "w"})', "k\tv\nl\tw\n"),
            ('write_json({"k": [1, 2]})', '{"k": [1, 2]}'),
            ('write_json([None, "a"])', '[null, "a"]'),
            ("write_json(1.0)", "1.0"),
            ('write_json((1, "a"))', '{"left": 1, "right": "a"}'),
        ],
    )
    def test_writing(self, text, expected):
        assert written(text) == expected

    def test_structs(self):
        people = ("Array[Person]", [{"name": "Al", "age": 3, "town": "X"}])
        assert json.loads(written("write_json(p)", p=("Person", people[1][0]))) == people[1][0]

    def test_struct_tables(self):
        files = MemoryFiles()
        text = "write_tsv([Pt { x: 1, y: 'a' }], true)"
        document = Document("1.2", "struct Pt { Int x String y }")
        expression = Expression(text, "File", ROOT, HERE)
        library = Library("1.2", files, WorkflowLocations())
        uri = parse_expression(expression, document).eval(WDL.Env.Bindings(), library).value
        assert files.contents[uri] == b"x\ty\n1\ta\n"

    @pytest.mark.parametrize("text", ['write_json({1: "a"})', "write_json([(1, {2: 3})])"])
    def test_what_has_no_form_in_json(self, text):
        with pytest.raises(EvaluationError, match="no form in JSON"):
            evaluate(text, version="1.1")

    def test_1_0_does_not_forbid_it(self):
        assert json.loads(written("write_json((1, {2: 3}))", "1.0")) == {"left": 1, "right": {"2": 3}}

    def test_a_map_with_tabs(self):
        with pytest.raises(EvaluationError, match="tab"):
            evaluate('write_map({"a\\tb": "c"})')

    def test_equal_contents_are_one_file_and_its_name_says_what_made_it(self):
        files = MemoryFiles()
        first, second = evaluate('write_lines(["a"])', files), evaluate('write_lines(["a"])', files)
        assert first == second
        assert first.rpartition("/")[2].startswith("write_lines_")
        assert evaluate('write_lines(["b"])', files) != first

    def test_what_is_written_can_be_read(self):
        assert evaluate('read_map(write_map({"a": "b"}))') == {"a": "b"}
        assert evaluate('read_lines(write_lines(["x", "", "é\\t"]))') == ["x", "", "é\t"]
        assert evaluate('size(write_lines(["abc"]))') == 4.0


class TestPlaceholders:
    def test_where_none_makes_an_expression_fail_the_placeholder_is_empty_from_1_2_on(self):
        foo = ("String?", None)
        assert evaluate('"Foo is ~{select_first([foo])}"', foo=foo) == "Foo is "
        assert evaluate('"~{"-x " + select_first([foo, foo])}|"', foo=foo) == "|"
        assert evaluate('"~{select_first([foo, "b"])}"', foo=foo) == "b"
        with pytest.raises(EvaluationError, match="all-null"):
            evaluate('"Foo is ~{select_first([foo])}"', version="1.1", foo=foo)
        with pytest.raises(EvaluationError, match="all-null"):
            evaluate("select_first([foo])", foo=foo)

    def test_any_other_error_in_a_placeholder_is_one(self):
        with pytest.raises(EvaluationError, match="out of bounds"):
            evaluate('"~{[1][2]}"')


class TestCollections:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("range(3)", [0, 1, 2]), ("range(0)", []),
            ("transpose([[0, 1, 2], [3, 4, 5]])", [[0, 3], [1, 4], [2, 5]]),
            ("cross([1, 2], ['a'])", [{"left": 1, "right": "a"}, {"left": 2, "right": "a"}]),
            ("zip([1, 2], ['a', 'b'])", [{"left": 1, "right": "a"}, {"left": 2, "right": "b"}]),
            ("unzip([(1, 'a'), (2, 'b')])", {"left": [1, 2], "right": ["a", "b"]}),
            ("flatten([[1], [], [2, 3]])", [1, 2, 3]),
            ("chunk([1, 2, 3, 4, 5], 2)", [[1, 2], [3, 4], [5]]),
            ("contains([1, 2], 2)", True), ("contains(['a'], 'b')", False),
            ("select_first([None, 2])", 2), ("select_first([n, n], 7)", 7), ("select_all([n, 1, n])", [1]),
            ("as_pairs({'a': 1})", [{"left": "a", "right": 1}]),
            ("as_map([('a', 1), ('c', 3), ('b', 2)])", {"a": 1, "c": 3, "b": 2}),
            ("keys({1: 'a', 2: 'b'})", [1, 2]), ("values({1: 'a', 2: 'b'})", ["a", "b"]),
            ("contains_key({1: 'a'}, 1)", True),
            ("contains_key({'a': {'b': 1}}, ['a', 'b'])", True), ("contains_key({'a': {'b': 1}}, ['a', 'c'])", False),
            ("collect_by_key([('a', 1), ('b', 2), ('a', 3)])", {"a": [1, 3], "b": [2]}),
            ("defined(n)", False), ("length({'a': 1})", 1), ("length([1, 2])", 2),
        ],
    )  # fmt: skip
    def test_of_the_specification(self, text, expected):
        names = {"n": ("Int?", None)} if "n]" in text or "[n" in text or "(n)" in text else {}
        assert evaluate(text, **names) == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("range(-1)", "negative"),
            ("transpose([[1, 2], [3]])", "ragged"),
            ("zip([1, 2], [3])", "equal length"),
            ("as_map([('a', 1), ('a', 2)])", "duplicate keys"),
            ("select_first([n, n])", "all-null"),
            ("chunk([1], 0)", "greater than zero"),
            ("{'a': 1}['b']", "key not found"),
            ("[1, 2][2]", "out of bounds"),
        ],
    )
    def test_errors(self, text, message):
        names = {"n": ("Int?", None)} if "n, n" in text else {}
        with pytest.raises(EvaluationError, match=message):
            evaluate(text, **names)
