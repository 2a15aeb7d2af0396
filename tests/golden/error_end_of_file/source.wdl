version 1.1

workflow unfinished {
  call something {
