import "sub.wdl" as sub

task say {
  String who
  Int times = 2
  String both = who + times
  command {
    echo ${times} ${both} ${default='x' who}
  }
  output {
    String text = read_string(stdout())
    File log = stdout()
  }
  runtime { docker: "debian" }
}

workflow old {
  String name
  Array[String] others
  Int? times
  String upper = name + "!"

  call say { input: who = upper, times = times }
  scatter (other in others) {
    call say as say_other { input: who = other }
  }
  call sub.inner { input: n = 3 }

  output {
    say.text
    say_other.*
    inner.m
    String name2 = name
  }
}
