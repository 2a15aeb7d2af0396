version 1.1

workflow wrong {
  input { Int n  String? maybe }
  String text = maybe
  Int sum = n + unknown
  call work { input: n = "three", m = 3 }
}

task work {
  input { Int n }
  command <<< echo ~{n} ~{undefined} >>>
  output { Int m = "a" }
}
