version 1.0

workflow exposes_its_calls {
  input { Array[Int] numbers }
  scatter (n in numbers) {
    call one { input: n = n }
  }
  if (length(numbers) > 2) {
    call one as many { input: n = length(numbers) }
  }
}

task one {
  input { Int n }
  command { echo ~{n} > out.txt }
  output { File out = "out.txt"  Int m = n }
}
