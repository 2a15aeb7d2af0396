version 1.2

workflow modern {
  input {
    Directory folder
    String name = "x"
  }

  String several = <<<
    first ~{name}
      second \
      continued
  >>>

  call list { folder, label = several }

  output {
    Array[String] names = list.names
  }

  hints { allow_nested_inputs: true }
}

task list {
  input {
    Directory folder
    env String label
  }
  command <<<
    ls "~{folder}"; echo "$label" ~{task.attempt}
  >>>
  output {
    Array[String] names = read_lines(stdout())
  }
  requirements {
    container: ["debian:stable-slim", "ubuntu"]
    memory: "2 GiB"
  }
  hints { short_task: true }
}
