version 1.1

# The only task of a document without a workflow: its plan has one call.
task count_lines {
  input {
    File text
    Int at_least = 1
    String? label
  }

  parameter_meta {
    text: { help: "what to count", patterns: ["*.txt"] }
  }

  command <<<
    echo "~{label}" && wc -l < ~{text}
  >>>

  output {
    Int lines = read_int(stdout())
  }

  runtime {
    container: "debian:stable-slim"
  }

  meta {
    author: "somebody"
    stable: true
  }
}
