version 1.1

import "left.wdl" as one
import "right.wdl" as two
import "left_again.wdl" as three

# Three tasks of one name; two of them are the same text.
workflow all {
  input { Int n }
  call one.work as a { input: n }
  call two.work as b { input: n }
  call three.work as c { input: n }
  output { Array[Int] m = [a.m, b.m, c.m] }
}
