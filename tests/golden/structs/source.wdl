version 1.1

import "types.wdl" as types alias Sample as Individual

# Another struct of the name that the import gives up.
struct Sample {
  String barcode
  Pair[Int, Int] lane
}

workflow cohort {
  input {
    Array[Individual] people
    Sample sample = Sample { barcode: "AC", lane: (1, 2) }
    Map[String, Sample] by_name = { "x": Sample { barcode: "GT", lane: (3, 4) } }
  }

  scatter (person in people) {
    call types.describe { input: sample = person }
    Int depth = person.library.depth + sample.lane.left
  }
  # `describe.sample_out` is a struct of the other document, and `.name` a member of it
  String first = describe.library_out[0].kit
  Individual made = object { name: "n", library: object { kit: "k", depth: 1 } }

  call types.describe as described { input: sample = made }

  output {
    Array[Int] depths = depth
    String kit = described.library_out.kit
    Individual same = made
    String name = first
  }
}
