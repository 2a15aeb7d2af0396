version development

workflow tries {
  call? one
}

task one {
  command <<< true >>>
}
