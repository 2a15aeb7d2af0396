version 1.1

struct Point {
  Int x
  Float y
}

workflow calculate {
  input {
    Int a = -3
    Array[Int] numbers = [1, -2]
    Map[String, Int] ages = {"ann": 3}
    Pair[Int, String] pair = (1, 'it\'s "quoted"')
    Point point = Point { x: 1, y: 2.5 }
    Array[String] none = []
    String? nothing = None
  }

  Int grouped = a - (a - (2 + 1) * 3)   # a printer that drops parentheses changes this
  Int chosen = (if a > 1 then a else 2) + numbers[0]
  Boolean either = !(a > 1 && a < 3) || (true == !false)
  String text = "tab\t ~{sep=', ' numbers} ${if either then "yes \"${a}\"" else 'no'} ~{default="\"" nothing} \\ \u00e9"
  String flags = '~{true="--on" false='' either}'
  Int member = pair.left + point.x
  Int from_call = one.point_out.x
  Map[String, Array[Int]] nested = {
    "first": [1,
      2],  # a comment in the middle
    "second": []
  }
  Point as_object = object { x: length(numbers), y: 1 }
  Array[Pair[String, Int]] pairs = as_pairs(ages)
  Array[Array[Int]] product = [[a, 1], numbers]
  Float power = 1.5e3 * 2.0 / 4 + 7 % 3

  call one { input: point = as_object, text = "~{text}: " + a }
}

task one {
  input { Point point  String text }
  command <<< echo '~{text}' >>>
  output { Point point_out = point }
}
