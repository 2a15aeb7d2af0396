version 1.1

workflow maybe {
  input { Boolean flag  Int n = 3  Array[Int] numbers = [1, 2] }

  if (flag) {
    call work as first { input: n }
    if (first.n_out > 1) {
      call work as second { input: n = first.n_out }
    }
  }
  if (!flag) {
    call work as other { input: n }
  }
  if (flag) {
    Int from_flag = 1
  }
  scatter (number in numbers) {
    if (number > select_first([first.n_out, 0])) {
      call work as each { input: n = number }
    }
  }

  output {
    Int? a = second.n_out
    Int b = select_first([first.n_out, other.n_out])
    Array[Int?] c = each.n_out
    Int? d = from_flag
  }
}

task work {
  input { Int n }
  command <<< echo ~{n} >>>
  output { Int n_out = n }
  runtime { container: "debian" }
}
