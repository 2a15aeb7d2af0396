version 1.0

import "../count.wdl" as counting

workflow align_one {
  input {
    File read
    Int extra = 0
    Int threads = 2
  }
  Int more = threads + extra
  call align { input: read = read, threads = more }
  call counting.count_twice as counted { input: text = align.bam }
  output {
    File bam = align.bam
    Int lines = counted.lines
    Array[Int]? by_limit = counted.by_limit
  }
}

task align {
  input { File read  Int threads }
  command <<< cp ~{read} out.bam >>>
  output { File bam = "out.bam" }
  runtime { docker: "bwa" }
}

task count {
  input { File text  Int at_least }
  command <<< wc -l < ~{text} >>>
  output { Int lines = read_int(stdout()) }
}
