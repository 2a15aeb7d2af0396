version 1.1

task wrong {
  command <<< ~{n} >>>
}
