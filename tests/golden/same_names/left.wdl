version 1.1
task work {
  input { Int n }
  command <<< echo ~{n} >>>
  output { Int m = n }
}
