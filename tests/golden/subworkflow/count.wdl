version 1.0

workflow count_twice {
  input { File text }
  call count { input: text = text }
  call count as check { input: text = text, at_least = count.lines }
  output { Int lines = check.lines }
}

task count {
  input { File text  Int at_least = 0 }
  command <<< wc -l < ~{text} >>>
  output { Int lines = read_int(stdout()) }
}
