version 1.1
task work {
  input { Int n }
  command <<< echo ~{n + 1} >>>
  output { Int m = n + 1 }
}
