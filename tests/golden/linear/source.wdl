version 1.0

workflow greet {
  input {
    String name
    Int times = 2
    Float factor = 2
    Array[String] words = ["a", "b\t"]
    String greeting = "Hello, ~{name}"
    Boolean? loud
  }

  Int most = times * 3

  call say { input: who = name, times = most }
  call say as shout { input: who = say.text }

  output {
    String text = shout.text
    Int size = length(words) + most
  }

  meta { description: "Greets" }
  parameter_meta { name: "who is greeted" }
}

task say {
  input { String who  Int times = 1  Int cpu = 1 }
  command { for i in $(seq ~{times}); do echo ~{who}; done }
  output { String text = read_string(stdout()) }
  runtime { docker: "debian"  cpu: cpu }
}
