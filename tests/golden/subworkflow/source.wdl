version 1.1

import "parts/align.wdl" as parts

workflow main {
  input { Array[File] reads  Boolean again = true }

  call parts.align_one as first { input: read = reads[0] }
  scatter (read in reads) {
    call parts.align_one { input: read = read, extra = first.lines }
    if (again && align_one.lines > 1) {
      call parts.align_one as realign after first { input: read = align_one.bam }
    }
  }
  call parts.count as last after align_one { input: text = reads[0], at_least = 1 }

  output {
    Array[File] bams = align_one.bam
    Array[Int?] lines = realign.lines
    Array[Array[Int]?] by_limit = align_one.by_limit
  }
}
