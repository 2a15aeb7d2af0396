version 1.1

task broken {
  command <<< true >>>
  output { Int }
}
