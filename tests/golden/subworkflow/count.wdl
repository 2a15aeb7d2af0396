version 1.0

workflow count_twice {
  input { File text }
  call count { input: text = text }
  call count as check { input: text = text, at_least = count.lines }
  if (check.lines > 2) {
    scatter (limit in range(check.lines)) {
      call count as each { input: text = text, at_least = limit }
    }
    Int many = length(each.lines)
  }
  output {
    Int lines = check.lines
    Array[Int]? by_limit = each.lines
    Int? how_many = many
  }
}

task count {
  input { File text  Int at_least = 0 }
  command <<< wc -l < ~{text} >>>
  output { Int lines = read_int(stdout()) }
}
