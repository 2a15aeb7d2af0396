version 1.0

struct Library {
  String kit
  Int depth
}

struct Sample {
  String name
  Library library
  File? reads
}

task describe {
  input { Sample sample }
  command <<< echo ~{sample.name} >>>
  output { Library library_out = sample.library }
}
