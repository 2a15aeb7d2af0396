task add {
  Int n
  command { echo $((${n} + 1)) }
  output { Int m = read_int(stdout()) }
}

workflow inner {
  Int n
  Int twice = n * 2
  call add { input: n = twice }
  output { Int m = add.m }
}
